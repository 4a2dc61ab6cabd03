package tfserving

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
)

// maxWarm is how many warm-up requests a version may have.
const maxWarm = 1000

// WarmRequests reads the warm-up requests of a version: {"requests": […]} of bodies of the predict call, a list of them,
// or one.
func WarmRequests(body []byte) ([]json.RawMessage, error) {
	const op = "tfserving.WarmRequests"
	var all []json.RawMessage
	var file map[string]json.RawMessage
	body = bytes.TrimSpace(body)
	err := json.Unmarshal(body, &all)
	if len(body) > 0 && body[0] == '{' {
		if err = json.Unmarshal(body, &file); err == nil {
			all = []json.RawMessage{body}
			if list, ok := file["requests"]; ok {
				all = nil
				err = json.Unmarshal(list, &all)
			}
		}
	}
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, `the warm-up requests are no JSON that can be read: %v; write {"requests": [{"instances": […]}, …]}`, err)
	}
	if len(all) == 0 || len(all) > maxWarm {
		return nil, errs.Errorf(op, errs.Invalid, "%d warm-up requests: write 1 to %d", len(all), maxWarm)
	}
	for i, one := range all {
		var keys map[string]json.RawMessage
		if json.Unmarshal(one, &keys) != nil || keys["instances"] == nil && keys["inputs"] == nil {
			return nil, errs.Errorf(op, errs.Invalid, `warm-up request %d is no body of the predict call: write {"instances": […]} or {"inputs": …}`, i+1)
		}
	}
	return all, nil
}

// Warm has a version answer its warm-up requests.
func Warm(ctx context.Context, l serve.Lease, body []byte) error {
	all, err := WarmRequests(body)
	if err != nil {
		return err
	}
	r := rooms.Get().(*room)
	defer r.put()
	for i, one := range all {
		if r.out, err = r.answer(ctx, l, one, r.out[:0]); err != nil {
			return errs.Errorf("tfserving.Warm", errs.Invalid, "it does not answer warm-up request %d of %d that is stored with it: %v; `lineshaft models warmup` stores others", i+1, len(all), err)
		}
	}
	return nil
}
