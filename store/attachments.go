package store

import (
	"context"

	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
)

func (d *DB) attachments() table[model.SealedAttachment] {
	return table[model.SealedAttachment]{d, "attachment", "attachment"}
}

// PutAttachment writes one, over an older one of that ID.
func (d *DB) PutAttachment(ctx context.Context, a model.SealedAttachment, events ...event.Event) error {
	return d.attachments().put(ctx, a.ID(), a, events...)
}

// GetAttachment of what is not there is errs.NotFound.
func (d *DB) GetAttachment(ctx context.Context, id string) (model.SealedAttachment, error) {
	return d.attachments().get(ctx, id)
}

// DeleteAttachment of what is not there is errs.NotFound.
func (d *DB) DeleteAttachment(ctx context.Context, id string, events ...event.Event) error {
	return d.attachments().remove(ctx, id, events...)
}

var _ model.AttachmentStore = (*DB)(nil)
