package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/tfserving"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

// This file asks by gRPC: PredictionService.Predict with the image in tensor_content, as TensorFlow's Python client sends
// it. Every client has a connection of its own, as programs on other machines have.

const predictMethod = "/tensorflow.serving.PredictionService/Predict"

// raw is a codec that leaves messages as they are, so that clients cost as little as can be.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// caller is a client by gRPC.
type caller struct {
	conn *grpc.ClientConn
	ctx  context.Context
}

func (c *caller) ask(request []byte) (answer []byte, err error) {
	err = c.conn.Invoke(c.ctx, predictMethod, &request, &answer)
	return answer, err
}

func (c *caller) Close() error { return c.conn.Close() }

// byGRPC makes a system be asked by gRPC.
func (s *system) byGRPC(token string) {
	ctx := context.Background()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	s.open = func() (asker, error) {
		conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
		return &caller{conn, ctx}, err
	}
	s.answer = probabilities
	s.request = func(image string) []byte {
		var x []float32
		err := json.Unmarshal([]byte(image), &x)
		if err != nil {
			panic(err) // our own text
		}
		content := make([]byte, 0, 4*len(x))
		for _, v := range x {
			content = binary.LittleEndian.AppendUint32(content, math.Float32bits(v))
		}
		b, err := proto.Marshal(&tfproto.PredictRequest{ModelSpec: &tfproto.ModelSpec{Name: "mnist"}, Inputs: map[string]*tfproto.TensorProto{"dense_input": {
			Dtype: tfproto.DataType_DT_FLOAT, TensorContent: content,
			TensorShape: &tfproto.TensorShapeProto{Dim: []*tfproto.TensorShapeProto_Dim{{Size: 1}, {Size: pixels}}},
		}}})
		if err != nil {
			panic(err)
		}
		return b
	}
}

func probabilities(body []byte) ([]float32, error) {
	var r tfproto.PredictResponse
	if err := proto.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	for _, t := range r.GetOutputs() {
		return t.GetFloatVal(), nil
	}
	return nil, fmt.Errorf("no output in the answer")
}

func startLineshaftGRPC(ctx context.Context, c config, w *work) (*system, error) {
	s, token, err := lineshaft(ctx, c, w, "lineshaft-grpc")
	if err != nil {
		return nil, err
	}
	s.addr = s.grpc
	s.byGRPC(token)
	return s, nil
}

func startHandlerGRPC(ctx context.Context, c config, w *work) (*system, error) {
	s, err := again(ctx, w, "handler-grpc", w.model, c.profile)
	if err == nil {
		s.byGRPC("")
	}
	return s, err
}

func startEchoGRPC(ctx context.Context, _ config, w *work) (*system, error) {
	s, err := again(ctx, w, "echo-grpc")
	if err == nil {
		s.byGRPC("")
		s.answer = nil
	}
	return s, err
}

// serveEchoGRPC is a bare server of grpc-go that sends the message back.
func serveEchoGRPC(ln net.Listener) error {
	g := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		var b []byte
		if err := s.RecvMsg(&b); err != nil {
			return err
		}
		return s.SendMsg(&b)
	}))
	return g.Serve(ln)
}

func serveHandlerGRPC(ln net.Listener, m *serve.Manager) error {
	anyone := func(context.Context, string, string, string) (string, error) { return "bench", nil }
	g := rpc.New(rpc.Options{Authorize: anyone}, func(g grpc.ServiceRegistrar, allow rpc.Allow) {
		tfserving.Register(g, tfserving.Calls{Manager: m, Allow: allow})
	})
	return g.Serve(ln)
}
