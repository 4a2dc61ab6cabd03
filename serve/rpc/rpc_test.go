package rpc_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/rpc"
)

func TestAnErrorHasTheCodeOfItsKind(t *testing.T) {
	for kind, want := range map[errs.Kind]codes.Code{
		errs.Other: codes.Internal, errs.Invalid: codes.InvalidArgument, errs.Unauthenticated: codes.Unauthenticated, errs.Denied: codes.PermissionDenied,
		errs.NotFound: codes.NotFound, errs.Exists: codes.AlreadyExists, errs.Conflict: codes.Aborted, errs.TooLarge: codes.ResourceExhausted,
		errs.Exhausted: codes.ResourceExhausted, errs.Full: codes.ResourceExhausted, errs.Unavailable: codes.Unavailable,
		errs.Timeout: codes.DeadlineExceeded, errs.Unsupported: codes.Unimplemented, errs.Corrupt: codes.DataLoss, errs.Canceled: codes.Canceled,
	} {
		err := rpc.Error(errs.Errorf("op.that.stays.here", kind, "what was wrong"))
		if s := status.Convert(err); s.Code() != want || s.Message() != "what was wrong" {
			t.Errorf("%s: %v", kind, err)
		}
	}
	busy := errs.RetryAfter(errs.Errorf("op", errs.Exhausted, "too busy"), 1500*time.Millisecond)
	if d := status.Convert(rpc.Error(busy)).Details(); len(d) != 1 || d[0].(*errdetails.RetryInfo).RetryDelay.AsDuration() != 1500*time.Millisecond {
		t.Errorf("%v", d)
	}
	if rpc.Error(nil) != nil {
		t.Error("no error became one")
	}
	if err := rpc.Error(fmt.Errorf("asked: %w", context.DeadlineExceeded)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	if err := rpc.Error(status.Error(codes.OutOfRange, "as it is")); status.Code(err) != codes.OutOfRange {
		t.Errorf("%v", err)
	}
}
