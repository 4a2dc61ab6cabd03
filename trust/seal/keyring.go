package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	head []byte // seals the audit log's head; a rotation does not change it
	keys []kek  // the last one wraps, all unwrap
}

type kek struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

// file is the key file's content.
type file struct {
	Head []byte `json:"head"`
	Keys []kek  `json:"keys"`
}

// OpenKeyring reads the file at path, or makes it with a first key where there is none. now dates a new key. A file that
// others may read is refused.
func OpenKeyring(path string, now time.Time) (*Keyring, error) {
	const op = "seal.OpenKeyring"
	k := &Keyring{path: path}
	if err := sweep(path); err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		k.head = make([]byte, 32)
		_, _ = rand.Read(k.head) // never fails
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
	var content file
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(&content); err != nil {
		return nil, errs.Errorf(op, errs.Corrupt, "the key file %s does not parse: restore it from a backup; without it nothing sealed can be opened", path)
	}
	for _, key := range content.Keys {
		if len(key.Key) != 32 || key.ID == "" || len(content.Head) != 32 {
			return nil, errs.Errorf(op, errs.Corrupt, "the key file %s holds a damaged key: restore it from a backup", path)
		}
	}
	if len(content.Keys) == 0 {
		return nil, errs.Errorf(op, errs.Corrupt, "the key file %s holds no key: restore it from a backup", path)
	}
	k.head, k.keys = content.Head, content.Keys
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
	return errs.E("seal.Rotate", errs.Other, k.write(append(slices.Clone(k.keys), next)))
}

// Retire drops a key that nothing is wrapped under any more: what is, opens never again. The primary key stays.
func (k *Keyring) Retire(id string) error {
	const op = "seal.Retire"
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.keys, func(key kek) bool { return key.ID == id })
	switch {
	case i < 0:
		return errs.Errorf(op, errs.NotFound, "no key-encryption key %.20q", id)
	case i == len(k.keys)-1:
		return errs.Errorf(op, errs.Conflict, "key %s is the one that wraps: rotate the keys first", id)
	}
	return errs.E(op, errs.Other, k.write(slices.Delete(slices.Clone(k.keys), i, i+1)))
}

// write replaces the file durably, and then the keys in memory. The caller holds k.mu.
func (k *Keyring) write(keys []kek) error {
	text, err := json.MarshalIndent(file{k.head, keys}, "", "  ")
	if err != nil {
		return err
	}
	if err := replace(k.path, text); err != nil {
		return err
	}
	k.keys = keys
	return nil
}

// maxFile bounds the key file.
const maxFile = 1 << 20

// sweep removes what a crash left of a replacement: it holds keys.
func sweep(path string) error {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), temporary))
	if err != nil {
		return err
	}
	for _, f := range left {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

const temporary = ".keys-*"

// replace writes a file that is either the old one or the whole new one after a crash.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), temporary) // mode 0600
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

// KeyInfo is what may be known of a key-encryption key.
type KeyInfo struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Primary bool      `json:"primary"` // it wraps; the others only unwrap
}

// Keys lists the key-encryption keys, oldest first.
func (k *Keyring) Keys() []KeyInfo {
	k.mu.RLock()
	defer k.mu.RUnlock()
	out := make([]KeyInfo, len(k.keys))
	for i, key := range k.keys {
		out[i] = KeyInfo{key.ID, key.Created, i == len(k.keys)-1}
	}
	return out
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

// Rewrap wraps a data key anew where it is not under the primary key. wrapped may have a tail, as sealed values and the
// names of blobs do: from the first space or '#' on, it is kept as it is.
func (k *Keyring) Rewrap(wrapped, context string) (string, error) {
	if strings.HasPrefix(wrapped, k.Primary()+":") {
		return wrapped, nil
	}
	tail := ""
	if i := strings.IndexAny(wrapped, " #"); i >= 0 {
		wrapped, tail = wrapped[:i], wrapped[i:]
	}
	key, err := k.Unwrap(wrapped, context)
	if err != nil {
		return "", err
	}
	again, err := k.Wrap(key, context)
	return again + tail, err
}

// SealHead is the keyed seal of the audit log's head, under a key of its own, which no rotation changes.
func (k *Keyring) SealHead(seq int64, hash string) string {
	m := hmac.New(sha256.New, k.head)
	fmt.Fprintf(m, "lineshaft audit head %d %s", seq, hash)
	return hex.EncodeToString(m.Sum(nil))
}
