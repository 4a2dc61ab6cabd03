package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/kserve"
	kserveproto "github.com/lineshaft/lineshaft/serve/kserve/proto"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/rpc"
)

// This file asks by the Open Inference Protocol, as Triton's Python client does: by REST with the tensors as bytes after
// the JSON, and by gRPC with raw_input_contents. Every client has a connection of its own.

const (
	inferMethod  = "/inference.GRPCInferenceService/ModelInfer"
	lengthHeader = "Inference-Header-Content-Length"
)

// content is an image's numbers as bytes.
func content(image string) []byte {
	var x []float32
	if err := json.Unmarshal([]byte(image), &x); err != nil {
		panic(err) // our own text
	}
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func floats(b []byte) []float32 {
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

// byBinary makes a system be asked by REST with bytes.
func (s *system) byBinary(token string) {
	head := fmt.Sprintf(`{"parameters": {"binary_data_output": true}, "inputs": [{"name": "dense_input", "shape": [1, %d], "datatype": "FP32", "parameters": {"binary_data_size": %d}}]}`,
		pixels, 4*pixels)
	header := lengthHeader + ": " + strconv.Itoa(len(head)) + "\r\n"
	if token != "" {
		header += "Authorization: Bearer " + token + "\r\n"
	}
	s.request = func(image string) []byte { return post("/v2/models/mnist/infer", header, head+string(content(image))) }
	s.answer = func(body []byte) ([]float32, error) {
		end := bytes.LastIndex(body, []byte("]}")) + 2 // the JSON's end: of ten floats below 1 none has these bytes
		if end < 2 {
			return nil, fmt.Errorf("no answer: %q", body)
		}
		return floats(body[end:]), nil
	}
}

// inferrer is a client by gRPC.
type inferrer struct{ caller }

func (c *inferrer) ask(request []byte) (answer []byte, err error) {
	err = c.conn.Invoke(c.ctx, inferMethod, &request, &answer)
	return answer, err
}

// byRaw makes a system be asked by gRPC with raw contents.
func (s *system) byRaw(token string) {
	ctx := context.Background()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	s.open = func() (asker, error) {
		conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
		return &inferrer{caller{conn, ctx}}, err
	}
	s.request = func(image string) []byte {
		b, err := proto.Marshal(&kserveproto.ModelInferRequest{
			ModelName: "mnist", Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{{Name: "dense_input", Datatype: "FP32", Shape: []int64{1, pixels}}},
			RawInputContents: [][]byte{content(image)},
		})
		if err != nil {
			panic(err)
		}
		return b
	}
	s.answer = func(body []byte) ([]float32, error) {
		var r kserveproto.ModelInferResponse
		if err := proto.Unmarshal(body, &r); err != nil {
			return nil, err
		}
		if len(r.GetRawOutputContents()) != 1 {
			return nil, fmt.Errorf("%d raw outputs in the answer", len(r.GetRawOutputContents()))
		}
		return floats(r.GetRawOutputContents()[0]), nil
	}
}

func startLineshaftBinary(ctx context.Context, c config, w *work) (*system, error) {
	s, token, err := lineshaft(ctx, c, w, "lineshaft-kserve")
	if err == nil {
		s.byBinary(token)
	}
	return s, err
}

func startLineshaftRaw(ctx context.Context, c config, w *work) (*system, error) {
	s, token, err := lineshaft(ctx, c, w, "lineshaft-kserve-grpc")
	if err == nil {
		s.addr = s.grpc
		s.byRaw(token)
	}
	return s, err
}

func startHandlerBinary(ctx context.Context, c config, w *work) (*system, error) {
	s, err := again(ctx, w, "handler-kserve", w.model, c.profile)
	if err == nil {
		s.byBinary("")
	}
	return s, err
}

func startHandlerRaw(ctx context.Context, c config, w *work) (*system, error) {
	s, err := again(ctx, w, "handler-kserve-grpc", w.model, c.profile)
	if err == nil {
		s.byRaw("")
	}
	return s, err
}

func serveHandlerBinary(ln net.Listener, m *serve.Manager) error {
	p := port.New(port.Options{Authorize: func(*http.Request, string, string) (string, error) { return "bench", nil }})
	h := p.Handler(http.NotFoundHandler(), map[string]http.Handler{"v2": kserve.On(p, kserve.Options{Manager: m})})
	return web.NewServer(h, nil).Serve(web.Listener(ln))
}

func serveHandlerRaw(ln net.Listener, m *serve.Manager) error {
	anyone := func(context.Context, string, string, string) (string, error) { return "bench", nil }
	return rpc.New(rpc.Options{Authorize: anyone}, func(g grpc.ServiceRegistrar, allow rpc.Allow) {
		kserve.Register(g, allow, kserve.Options{Manager: m})
	}).Serve(ln)
}
