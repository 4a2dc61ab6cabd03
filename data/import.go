package data

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/id"
)

// maxFiles bounds one set; larger collections belong in an archive of their own.
const maxFiles = 10_000

// Blobs keeps the sealed bytes.
type Blobs interface {
	Put(ctx context.Context, r io.Reader, limit int64) (artifact.Info, error)
	OpenAt(ctx context.Context, info artifact.Info) (artifact.ReaderAt, error)
	Remove(info artifact.Info) error
}

// Sets imports and finds data sets. Who may do so is decided before it is called.
type Sets struct {
	Store Store
	Blobs Blobs
	Clock clock.Clock
	Limit int64 // bytes of one set
}

// Import seals every file of a tar stream as a new version of the set; the same files again give the version that is
// there. Nothing plain is written down on the way.
func (s *Sets) Import(ctx context.Context, actor, owner, name string, stream io.Reader) (Set, error) {
	if err := id.CheckName("data set", name); err != nil {
		return Set{}, err
	}
	set := Set{Name: name, Format: "files", Owner: owner, Created: s.Clock.Now()}
	err := s.receive(ctx, &set, tar.NewReader(stream))
	if err == nil {
		err = finish(&set)
	}
	if err != nil {
		return Set{}, errors.Join(err, s.drop(set))
	}
	s.recognise(ctx, &set)
	made, err := s.Store.CreateSet(ctx, set, event.Event{Topic: "data", Kind: "data.imported", Subject: "data/" + name + "@", Actor: actor})
	if err == nil && made.Files[0].Key != set.Files[0].Key {
		err = s.drop(set) // the same set was there
	}
	return made, err
}

// drop removes what was sealed for nothing.
func (s *Sets) drop(set Set) (err error) {
	for _, f := range set.Files {
		err = errors.Join(err, s.Blobs.Remove(f.Artifact()))
	}
	return err
}

// receive seals the files of the stream.
func (s *Sets) receive(ctx context.Context, set *Set, tr *tar.Reader) error {
	const op = "data.Import"
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errs.Errorf(op, errs.Invalid, "the upload of data set %q is not a whole tar stream: %v", set.Name, err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if len(set.Files) == maxFiles {
			return errs.Errorf(op, errs.TooLarge, "data set %q has more than %d files: pack them into archives", set.Name, maxFiles)
		}
		f, err := s.file(ctx, h, tr, s.Limit-set.Size)
		if err != nil {
			return err
		}
		set.Files = append(set.Files, f)
		set.Size += f.Size
	}
	if len(set.Files) == 0 {
		return errs.Errorf(op, errs.Invalid, "data set %q would be empty: the folder holds no files", set.Name)
	}
	return nil
}

func (s *Sets) file(ctx context.Context, h *tar.Header, r io.Reader, limit int64) (File, error) {
	const op = "data.Import"
	if h.Typeflag != tar.TypeReg {
		return File{}, errs.Errorf(op, errs.Invalid, "%q is neither a file nor a folder: a data set holds plain files only", h.Name)
	}
	clean := path.Clean(h.Name)
	if clean == "." || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(clean, 0) {
		return File{}, errs.Errorf(op, errs.Invalid, "file name %q leads out of the data set", h.Name)
	}
	info, err := s.Blobs.Put(ctx, r, limit)
	if err != nil {
		return File{}, errs.E(op, errs.Other, err)
	}
	return File{Name: clean, Digest: info.Digest, Size: info.Size, Key: info.Key}, nil
}

// finish sorts the files and computes the set's digest over names and digests.
func finish(set *Set) error {
	slices.SortFunc(set.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	sum := sha256.New()
	for i, f := range set.Files {
		if i > 0 && f.Name == set.Files[i-1].Name {
			return errs.Errorf("data.Import", errs.Invalid, "file %q appears twice", f.Name)
		}
		io.WriteString(sum, f.Name+"\x00"+f.Digest+"\n") //nolint:errcheck // a hash never fails
	}
	set.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return nil
}

// recognise sets the format "idx" and the rows where every file is an IDX file (the MNIST layout, LeCun et al.):
// two zero bytes, a type, the number of dimensions, then the dimensions, the first being the rows. Rows counts those of
// the files of labels, or of all files where none has one dimension.
func (s *Sets) recognise(ctx context.Context, set *Set) {
	var rows, labels int64
	for _, f := range set.Files {
		head, err := s.head(ctx, f)
		if err != nil || head[0] != 0 || head[1] != 0 || head[2] < 8 || head[2] > 14 || head[3] == 0 || head[3] > 8 {
			return
		}
		n := int64(binary.BigEndian.Uint32(head[4:]))
		rows += n
		if head[3] == 1 {
			labels += n
		}
	}
	if labels > 0 {
		rows = labels
	}
	set.Format, set.Rows = "idx", rows
}

// head is the first eight bytes of a file, unzipped where its name says so.
func (s *Sets) head(ctx context.Context, f File) (head [8]byte, err error) {
	at, err := s.Blobs.OpenAt(ctx, f.Artifact())
	if err != nil {
		return head, err
	}
	defer at.Close()
	var r io.Reader = io.NewSectionReader(at, 0, f.Size)
	if strings.HasSuffix(f.Name, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return head, err
		}
	}
	_, err = io.ReadFull(r, head[:])
	return head, err
}

// Artifact is where the file's bytes are.
func (f File) Artifact() artifact.Info {
	return artifact.Info{Digest: f.Digest, Size: f.Size, Key: f.Key}
}

// Find resolves "mnist" (the newest) or "mnist@2".
func (s *Sets) Find(ctx context.Context, ref string) (Set, error) {
	name, version, err := ParseRef(ref)
	if err != nil {
		return Set{}, err
	}
	return s.Store.GetSet(ctx, name, version)
}

// ParseRef splits "mnist@2" into its name and version; version 0 is the newest.
func ParseRef(ref string) (name string, version int64, err error) {
	name, v, found := strings.Cut(ref, "@")
	if found {
		if version, err = parseVersion(v); err != nil {
			return "", 0, errs.Errorf("data.ParseRef", errs.Invalid, "%q is no data set: write NAME or NAME@VERSION, for example mnist@1", ref)
		}
	}
	return name, version, id.CheckName("data set", name)
}

// String names the version with its digest, as lineage records it.
func (s Set) String() string { return s.Ref() + " " + s.Digest }
