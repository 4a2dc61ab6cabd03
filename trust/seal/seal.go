// Package seal keeps models, data sets and secrets unreadable at rest, C = E(K, P).
//
// Every file has its own random data key. The bytes go through a streaming authenticated encryption (DARE 2.0 of
// minio/sio: AES-256-GCM in packages of 64 KiB, each bound to its place and the last marked), so that a file can be
// read from any offset and a flipped, moved or missing piece is found. The data key is derived for its purpose by HKDF
// with a context ("blob", "secret/NAME"), so that bytes sealed for one purpose do not open for another.
//
// Data keys are stored wrapped under a key-encryption key of the Keyring, a small file that only its owner may read.
// Rotation adds a new key-encryption key; what is wrapped under an old one still opens and can be wrapped anew without
// touching the sealed bytes.
package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"github.com/minio/sio"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// DataKey encrypts one file.
type DataKey [32]byte

// NewDataKey draws a key.
func NewDataKey() DataKey {
	var k DataKey
	_, _ = rand.Read(k[:]) // never fails
	return k
}

// String keeps keys out of logs and errors.
func (DataKey) String() string { return "[data key]" }

// GoString keeps keys out of %#v.
func (DataKey) GoString() string { return "[data key]" }

func (k DataKey) config(context string) sio.Config {
	derived, err := hkdf.Key(sha256.New, k[:], nil, "lineshaft "+context, 32)
	if err != nil {
		panic(err) // only for lengths that SHA-256 cannot give
	}
	return sio.Config{MinVersion: sio.Version20, MaxVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM}, Key: derived}
}

// Writer seals what is written to it; Close writes the last package and does not close w.
func Writer(w io.Writer, key DataKey, context string) (io.WriteCloser, error) {
	sealed, err := sio.EncryptWriter(keepOpen{w}, key.config(context))
	return sealed, errs.E("seal.Writer", errs.Other, err)
}

type keepOpen struct{ io.Writer }

// Reader opens sealed bytes in order. Sealed, no bytes are no bytes: whoever needs to know that a file was not emptied
// keeps its length.
func Reader(r io.Reader, key DataKey, context string) (io.Reader, error) {
	plain, err := sio.DecryptReader(r, key.config(context))
	if err != nil {
		return nil, errs.E("seal.Reader", errs.Other, err)
	}
	return checked{plain}, nil
}

// ReaderAt opens sealed bytes at any offset.
func ReaderAt(r io.ReaderAt, key DataKey, context string) (io.ReaderAt, error) {
	plain, err := sio.DecryptReaderAt(r, key.config(context))
	if err != nil {
		return nil, errs.E("seal.ReaderAt", errs.Other, err)
	}
	return checkedAt{plain}, nil
}

// SealedSize is how long n plain bytes become.
func SealedSize(n int64) (int64, error) {
	s, err := sio.EncryptedSize(uint64(max(n, 0)))
	return int64(s), errs.E("seal.SealedSize", errs.TooLarge, err)
}

type checked struct{ io.Reader }

func (c checked) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	return n, verdict(err)
}

type checkedAt struct{ io.ReaderAt }

func (c checkedAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	return n, verdict(err)
}

// verdict gives a failed authentication its kind.
func verdict(err error) error {
	var bad sio.Error
	switch {
	case err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case errors.As(err, &bad), errors.Is(err, io.ErrUnexpectedEOF):
		return errs.Errorf("seal.open", errs.Corrupt, "the sealed bytes were changed or cut off, or the key is another (%v)", err)
	}
	return err
}

// Seal seals a small value, not an empty one, under the keyring: the result carries its own wrapped key and is text.
func (k *Keyring) Seal(plain []byte, context string) (string, error) {
	key := NewDataKey()
	wrapped, err := k.Wrap(key, context)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if len(plain) == 0 { // sealed it would be no bytes, which proves nothing when it is opened
		return "", errs.Errorf("seal.Seal", errs.Invalid, "there is nothing to seal")
	}
	if _, err := sio.Encrypt(&out, bytes.NewReader(plain), key.config(context)); err != nil {
		return "", errs.E("seal.Seal", errs.Other, err)
	}
	return wrapped + " " + base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// Open opens what Seal sealed in the same context.
func (k *Keyring) Open(sealed, context string) ([]byte, error) {
	const op = "seal.Open"
	wrapped, text, _ := strings.Cut(sealed, " ")
	key, err := k.Unwrap(wrapped, context)
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) == 0 {
		return nil, errs.Errorf(op, errs.Corrupt, "a sealed value is damaged: it is no base64, or empty")
	}
	var out bytes.Buffer
	if _, err := sio.Decrypt(&out, bytes.NewReader(raw), key.config(context)); err != nil {
		return nil, errs.Errorf(op, errs.Corrupt, "a sealed value is damaged: %v", err)
	}
	return out.Bytes(), nil
}
