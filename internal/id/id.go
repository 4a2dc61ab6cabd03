// Package id makes identifiers: random ones that carry a prefix telling their kind ("tok_4f…"), and checks names that
// people choose.
package id

import (
	"crypto/rand"
	"encoding/base32"
	"regexp"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// New is prefix, an underscore and 80 random bits.
func New(prefix string) string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return prefix + "_" + lower.EncodeToString(b[:])
}

// Secret is prefix, an underscore and 160 random bits.
func Secret(prefix string) string {
	var b [20]byte
	_, _ = rand.Read(b[:])
	return prefix + "_" + lower.EncodeToString(b[:])
}

var name = regexp.MustCompile(`^[a-z0-9A-Z]([a-zA-Z0-9._-]{0,62}[a-zA-Z0-9])?$`)

// CheckName accepts what may name a job, model, data set, queue or user: 1 to 64 letters, digits, '.', '_' or '-',
// beginning and ending with a letter or digit, without "..". Names become file names and URL parts, hence the care.
func CheckName(what, s string) error {
	if name.MatchString(s) && !strings.Contains(s, "..") {
		return nil
	}
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return errs.Errorf("id.CheckName", errs.Invalid,
		"%s name %q is not allowed: use 1 to 64 letters, digits, '.', '_' or '-', beginning and ending with a letter or digit", what, s)
}
