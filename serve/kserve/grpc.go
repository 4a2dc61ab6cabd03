package kserve

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/lineshaft/lineshaft/internal/errs"
	kserveproto "github.com/lineshaft/lineshaft/serve/kserve/proto"
	"github.com/lineshaft/lineshaft/serve/rpc"
)

const service = "inference.GRPCInferenceService"

// calls answers by gRPC.
type calls struct {
	inference
	allow rpc.Allow
}

// Register lets g answer inference.GRPCInferenceService.
func Register(g grpc.ServiceRegistrar, allow rpc.Allow, o Options) {
	s := &calls{inference{o}, allow}
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*any)(nil), Metadata: "serve/kserve/proto/inference.proto",
		Methods: []grpc.MethodDesc{
			rpc.Method(service, "ModelInfer", s.infer),
			rpc.Small(service, "ServerLive", s.live),
			rpc.Small(service, "ServerReady", s.ready),
			rpc.Small(service, "ServerMetadata", s.server),
			rpc.Small(service, "ModelReady", s.modelReady),
			rpc.Small(service, "ModelMetadata", s.describe),
			rpc.Small(service, "ModelConfig", s.configuration),
			rpc.Small(service, "ModelStatistics", s.stats),
			rpc.Small(service, "RepositoryIndex", s.index),
			rpc.Method(service, "RepositoryModelLoad", s.load), // may carry a file
			rpc.Small(service, "RepositoryModelUnload", s.unload),
		},
		Streams: []grpc.StreamDesc{rpc.Stream("ModelStreamInfer", s.stream)},
	}, s)
}

// infer answers ModelInfer.
func (s *calls) infer(ctx context.Context, msg []byte) (any, error) {
	r := rooms.Get().(*room)
	defer r.put()
	version, err := s.answer(ctx, r, msg)
	if err != nil {
		return nil, err
	}
	raw := r.asRaw()
	return rpc.Encode(r.bound(raw), func(b []byte) []byte { return r.appendResponse(b, version, raw) }), nil
}

// answer computes what a message asks for; the outputs are then in r.
func (s *calls) answer(ctx context.Context, r *room, msg []byte) (number int64, err error) {
	r.decoder.port = nil
	if err := r.scan(msg); err != nil {
		return 0, err
	}
	if _, err := s.allow(ctx, "predict", r.wire.model); err != nil {
		return 0, err
	}
	start := time.Now()
	lease, err := s.acquire(r.wire.model, r.wire.version)
	if err != nil {
		return 0, err
	}
	defer lease.Release()
	if err = lease.Admit(ctx); err == nil {
		err = r.tensors()
	}
	if err == nil {
		err = r.run(ctx, lease)
	}
	lease.Observe(time.Since(start), err != nil)
	return lease.Version(), err
}

const (
	streamed = 16      // requests of a stream that are computed at once
	copied   = 1 << 20 // bytes of a request that is: larger ones are computed where they lie, before the next is read
)

// stream answers ModelStreamInfer: each request as ModelInfer would, errors in the answer, in the order in which the
// requests came. Several are computed at once, so that they can be joined.
func (s *calls) stream(ctx context.Context, recv func() ([]byte, error), send func(any) error) error {
	answers := make(chan chan any, streamed)
	sent := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		var err error
		for answer := range answers {
			a := <-answer
			if err == nil {
				if err = send(a); err != nil {
					cancel()
				}
			}
		}
		sent <- err
	}()
	var err error
	for ctx.Err() == nil {
		var msg []byte
		if msg, err = recv(); err != nil {
			break
		}
		r := rooms.Get().(*room)
		answer := make(chan any, 1)
		answers <- answer
		if len(msg) > copied {
			answer <- s.one(ctx, r, msg)
			continue
		}
		r.head = append(r.head[:0], msg...) // the next one takes its place
		go func() { answer <- s.one(ctx, r, r.head) }()
	}
	close(answers)
	if failed := <-sent; failed != nil {
		return failed
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// one answers a request of a stream, and gives the room back.
func (s *calls) one(ctx context.Context, r *room, msg []byte) any {
	defer r.put()
	version, err := s.answer(ctx, r, msg)
	if err != nil {
		text, id := err.Error(), r.id
		return rpc.Encode(len(text)+len(id)+32, func(b []byte) []byte {
			b = appendString(b, 1, text)
			return appendString(b, 2, appendString(nil, 3, id))
		})
	}
	raw := r.asRaw()
	r.raw = r.appendResponse(r.raw[:0], version, raw)
	return rpc.Encode(len(r.raw)+16, func(b []byte) []byte { return appendString(b, 2, r.raw) })
}

func (*calls) live(context.Context, *kserveproto.ServerLiveRequest) (proto.Message, error) {
	return &kserveproto.ServerLiveResponse{Live: true}, nil
}

func (s *calls) ready(context.Context, *kserveproto.ServerReadyRequest) (proto.Message, error) {
	return &kserveproto.ServerReadyResponse{Ready: s.restored()}, nil
}

func (s *calls) server(ctx context.Context, _ *kserveproto.ServerMetadataRequest) (proto.Message, error) {
	if _, err := s.allow(ctx, "read", ""); err != nil {
		return nil, err
	}
	return &kserveproto.ServerMetadataResponse{Name: name, Version: s.o.Version, Extensions: extensions}, nil
}

func (s *calls) modelReady(ctx context.Context, q *kserveproto.ModelReadyRequest) (proto.Message, error) {
	if _, err := s.allow(ctx, "read", q.GetName()); err != nil {
		return nil, err
	}
	ready, err := s.isReady(q.GetName(), q.GetVersion())
	if err != nil && !errs.Is(err, errs.NotFound) { // what is not there is not ready, as Triton says
		return nil, err
	}
	return &kserveproto.ModelReadyResponse{Ready: ready}, nil
}

func (s *calls) describe(ctx context.Context, q *kserveproto.ModelMetadataRequest) (proto.Message, error) {
	if _, err := s.allow(ctx, "read", q.GetName()); err != nil {
		return nil, err
	}
	m, err := s.metadata(q.GetName(), q.GetVersion())
	if err != nil {
		return nil, err
	}
	out := &kserveproto.ModelMetadataResponse{Name: m.Name, Versions: m.Versions, Platform: m.Platform}
	for _, d := range m.Inputs {
		out.Inputs = append(out.Inputs, &kserveproto.ModelMetadataResponse_TensorMetadata{Name: d.Name, Datatype: d.Datatype, Shape: d.Shape})
	}
	for _, d := range m.Outputs {
		out.Outputs = append(out.Outputs, &kserveproto.ModelMetadataResponse_TensorMetadata{Name: d.Name, Datatype: d.Datatype, Shape: d.Shape})
	}
	return out, nil
}

func (s *calls) configuration(ctx context.Context, q *kserveproto.ModelConfigRequest) (proto.Message, error) {
	if _, err := s.allow(ctx, "read", q.GetName()); err != nil {
		return nil, err
	}
	c, err := s.config(q.GetName(), q.GetVersion())
	if err != nil {
		return nil, err
	}
	out := &kserveproto.ModelConfig{Name: c.Name, Platform: c.Platform, Backend: c.Backend, MaxBatchSize: c.MaxBatch}
	for _, t := range c.Input {
		out.Input = append(out.Input, &kserveproto.ModelInput{Name: t.Name, DataType: kserveproto.DataType(kserveproto.DataType_value[t.Datatype]), Dims: t.Dims})
	}
	for _, t := range c.Output {
		out.Output = append(out.Output, &kserveproto.ModelOutput{Name: t.Name, DataType: kserveproto.DataType(kserveproto.DataType_value[t.Datatype]), Dims: t.Dims})
	}
	if c.Dynamic != nil {
		out.DynamicBatching = &kserveproto.ModelDynamicBatching{PreferredBatchSize: c.Dynamic.Preferred}
	}
	return &kserveproto.ModelConfigResponse{Config: out}, nil
}

// may makes the right to act on models a function of the call.
func (s *calls) may(ctx context.Context) func(action, model string) error {
	return func(action, model string) error {
		_, err := s.allow(ctx, action, model)
		return err
	}
}

func (s *calls) stats(ctx context.Context, q *kserveproto.ModelStatisticsRequest) (proto.Message, error) {
	all, err := s.statistics(q.GetName(), q.GetVersion(), s.may(ctx))
	if err != nil {
		return nil, err
	}
	of := func(d duration) *kserveproto.StatisticDuration {
		return &kserveproto.StatisticDuration{Count: d.Count, Ns: d.NS}
	}
	out := &kserveproto.ModelStatisticsResponse{}
	for _, v := range all {
		i := v.InferenceStats
		m := &kserveproto.ModelStatistics{
			Name: v.Name, Version: v.Version, LastInference: v.LastInference, InferenceCount: v.InferenceCount, ExecutionCount: v.ExecutionCount,
			InferenceStats: &kserveproto.InferStatistics{
				Success: of(i.Success), Fail: of(i.Fail), Queue: of(i.Queue), ComputeInput: of(i.ComputeInput), ComputeInfer: of(i.ComputeInfer),
				ComputeOutput: of(i.ComputeOutput), CacheHit: of(i.CacheHit), CacheMiss: of(i.CacheMiss),
			},
		}
		for _, u := range v.MemoryUsage {
			m.MemoryUsage = append(m.MemoryUsage, &kserveproto.MemoryUsage{Type: u.Type, Id: u.ID, ByteSize: u.Size})
		}
		out.ModelStats = append(out.ModelStats, m)
	}
	return out, nil
}

func (s *calls) index(ctx context.Context, q *kserveproto.RepositoryIndexRequest) (proto.Message, error) {
	all, err := s.list(ctx, q.GetReady(), s.may(ctx))
	if err != nil {
		return nil, err
	}
	out := &kserveproto.RepositoryIndexResponse{}
	for _, v := range all {
		out.Models = append(out.Models, &kserveproto.RepositoryIndexResponse_ModelIndex{Name: v.Name, Version: v.Version, State: v.State, Reason: v.Reason})
	}
	return out, nil
}

// load reads a RepositoryModelLoadRequest itself: it may carry a model file, and does not become a map of strings first.
func (s *calls) load(ctx context.Context, msg []byte) (any, error) {
	var model string
	var p parameters
	err := rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		switch {
		case typ != protowire.BytesType:
		case num == 2:
			model = string(b)
		case num == 3:
			return p.scan(b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	action := "load"
	if len(p.files) == 0 {
		action = "deploy" // what is deployed is replaced
	}
	actor, err := s.allow(ctx, action, model)
	if err != nil {
		return nil, err
	}
	if err := s.bring(ctx, actor, model, p); err != nil {
		return nil, err
	}
	return &kserveproto.RepositoryModelLoadResponse{}, nil
}

func (s *calls) unload(ctx context.Context, q *kserveproto.RepositoryModelUnloadRequest) (proto.Message, error) {
	actor, err := s.allow(ctx, "deploy", q.GetModelName())
	if err != nil {
		return nil, err
	}
	if err := s.o.Manager.Undeploy(ctx, actor, q.GetModelName()); err != nil {
		return nil, err
	}
	return &kserveproto.RepositoryModelUnloadResponse{}, nil
}
