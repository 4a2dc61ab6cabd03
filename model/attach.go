package model

import (
	"context"
	"fmt"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
)

// The attachments that versions have.
const (
	Warmup    = "warmup"    // requests that a version answers before it answers others
	Reference = "reference" // how its training data is distributed
)

// MaxAttachment is how large an attachment may be.
const MaxAttachment = 4 << 20

// Attachment is something small that belongs to a version and is not its artifact. It may be made of data, so it is
// sealed; unlike the artifact it may be put anew.
type Attachment struct {
	Model   string    `json:"model"`
	Version int64     `json:"version"`
	Name    string    `json:"name"`
	Size    int64     `json:"size"`
	Creator string    `json:"creator"`
	Created time.Time `json:"created"`
}

// ID names the attachment among all.
func (a Attachment) ID() string { return fmt.Sprintf("%s:%d/%s", a.Model, a.Version, a.Name) }

// SealedAttachment is one as it is stored.
type SealedAttachment struct {
	Attachment
	Sealed string `json:"sealed"`
}

// AttachmentContext is what an attachment is sealed for.
func AttachmentContext(id string) string { return "attachment/" + id }

// AttachmentStore keeps attachments.
type AttachmentStore interface {
	PutAttachment(ctx context.Context, a SealedAttachment, events ...event.Event) error
	// GetAttachment of what is not there is errs.NotFound.
	GetAttachment(ctx context.Context, id string) (SealedAttachment, error)
	DeleteAttachment(ctx context.Context, id string, events ...event.Event) error
}

// Sealer seals and opens small values; seal.Keyring is one.
type Sealer interface {
	Seal(plain []byte, context string) (string, error)
	Open(sealed, context string) ([]byte, error)
}

func attachment(v Version, name string) Attachment {
	return Attachment{Model: v.Model, Version: v.Version, Name: name}
}

// Attach puts an attachment, over an older one of that name.
func (r *Registry) Attach(ctx context.Context, actor string, v Version, name string, body []byte) (Attachment, error) {
	const op = "model.Attach"
	a := attachment(v, name)
	if len(body) > MaxAttachment {
		return a, errs.Errorf(op, errs.TooLarge, "the %s of %s has %d bytes: at most %d are kept", name, v.Subject(), len(body), MaxAttachment)
	}
	a.Size, a.Creator, a.Created = int64(len(body)), actor, r.Clock.Now()
	sealed, err := r.Keys.Seal(body, AttachmentContext(a.ID()))
	if err != nil {
		return a, errs.E(op, errs.Other, err)
	}
	e := event.New("models", "model."+name+"_set", v.Subject(), actor, a)
	return a, r.Attachments.PutAttachment(ctx, SealedAttachment{a, sealed}, e)
}

// Attached opens an attachment; errs.NotFound where the version has none of that name.
func (r *Registry) Attached(ctx context.Context, v Version, name string) ([]byte, Attachment, error) {
	s, err := r.Attachments.GetAttachment(ctx, attachment(v, name).ID())
	if err != nil {
		return nil, Attachment{}, err
	}
	body, err := r.Keys.Open(s.Sealed, AttachmentContext(s.ID()))
	return body, s.Attachment, errs.E("model.Attached", errs.Corrupt, err)
}

// Detach removes an attachment.
func (r *Registry) Detach(ctx context.Context, actor string, v Version, name string) error {
	a := attachment(v, name)
	return r.Attachments.DeleteAttachment(ctx, a.ID(), event.New("models", "model."+name+"_removed", v.Subject(), actor, a))
}
