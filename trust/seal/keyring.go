package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Keyring holds the key-encryption keys. Its methods may be called from any goroutine.
type Keyring struct {
	path string
	mu   sync.RWMutex
	keys []kek // the last one wraps, all unwrap
}

type kek struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

// OpenKeyring reads the file at path, or makes it with a first key where there is none. now dates a new key. A file that
// others may read is refused.
func OpenKeyring(path string, now time.Time) (*Keyring, error) {
	const op = "seal.OpenKeyring"
	k := &Keyring{path: path}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return k, k.Rotate(now)
	}
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	if info.Mode().Perm()&0o077 != 0 || !info.Mode().IsRegular() {
		return nil, errs.Errorf(op, errs.Denied, "the key file %s has mode %v: others could read the keys. `chmod 600` it, and rotate the keys if somebody did", path, info.Mode())
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return nil, errs.Errorf(op, errs.Denied, "the key file %s belongs to user %d, and this is user %d", path, owner.Uid, os.Geteuid())
	}
	var file struct {
		Keys []kek `json:"keys"`
	}
	if err := json.NewDecoder(f).Decode(&file); err != nil {
		return nil, errs.Errorf(op, errs.Corrupt, "the key file %s does not parse: restore it from a backup; without it nothing sealed can be opened", path)
	}
	for _, key := range file.Keys {
		if len(key.Key) != 32 || key.ID == "" {
			return nil, errs.Errorf(op, errs.Corrupt, "the key file %s holds a damaged key: restore it from a backup", path)
		}
	}
	if len(file.Keys) == 0 {
		return nil, errs.Errorf(op, errs.Corrupt, "the key file %s holds no key: restore it from a backup", path)
	}
	k.keys = file.Keys
	return k, nil
}

// Rotate adds a key that wraps from now on. The file is replaced durably before the key is used.
func (k *Keyring) Rotate(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := kek{Key: make([]byte, 32), Created: now}
	_, _ = rand.Read(next.Key) // never fails
	var id [4]byte
	_, _ = rand.Read(id[:])
	next.ID = "k" + hex.EncodeToString(id[:])
	keys := append(append([]kek(nil), k.keys...), next)
	text, err := json.MarshalIndent(map[string]any{"keys": keys}, "", "  ")
	if err != nil {
		return errs.E("seal.Rotate", errs.Other, err)
	}
	if err := replace(k.path, text); err != nil {
		return errs.E("seal.Rotate", errs.Other, err)
	}
	k.keys = keys
	return nil
}

// replace writes a file that is either the old one or the whole new one after a crash.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Primary is the ID of the key that wraps.
func (k *Keyring) Primary() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[len(k.keys)-1].ID
}

func (k *Keyring) find(id string) (kek, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, key := range k.keys {
		if key.ID == id {
			return key, true
		}
	}
	return kek{}, false
}

func (k kek) aead() cipher.AEAD {
	block, err := aes.NewCipher(k.Key)
	if err != nil {
		panic(err) // only for keys of another length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// Wrap encrypts a data key for keeping; context must be given again to unwrap. The result is "KEY-ID:base64".
func (k *Keyring) Wrap(dk DataKey, context string) (string, error) {
	key, ok := k.find(k.Primary())
	if !ok {
		return "", errs.Errorf("seal.Wrap", errs.Corrupt, "the keyring is empty")
	}
	return key.ID + ":" + base64.RawStdEncoding.EncodeToString(key.aead().Seal(nil, nil, dk[:], []byte(context))), nil
}

// Unwrap gives the data key back.
func (k *Keyring) Unwrap(wrapped, context string) (DataKey, error) {
	const op = "seal.Unwrap"
	var dk DataKey
	id, text, _ := strings.Cut(wrapped, ":")
	key, ok := k.find(id)
	if !ok {
		return dk, errs.Errorf(op, errs.Corrupt, "a data key is wrapped under key %.20q, which is not in %s: restore that file from a backup", id, k.path)
	}
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err == nil {
		raw, err = key.aead().Open(nil, nil, raw, []byte(context))
	}
	if err != nil || copy(dk[:], raw) != len(dk) {
		return dk, errs.Errorf(op, errs.Corrupt, "a wrapped data key is damaged or belongs to something else")
	}
	return dk, nil
}

// SealHead is the keyed seal of the audit log's head, under a key derived from the oldest key-encryption key, so that a
// rotation does not change it.
func (k *Keyring) SealHead(seq int64, hash string) string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, err := hkdf.Key(sha256.New, k.keys[0].Key, nil, "lineshaft audit head", 32)
	if err != nil {
		panic(err)
	}
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%d %s", seq, hash)
	return hex.EncodeToString(m.Sum(nil))
}
