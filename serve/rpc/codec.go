package rpc

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Decoder is a request that reads itself from the bytes of its message, instead of through protobuf's reflection. Whoever
// keeps bytes beyond DecodeMessage takes a reference (data.Ref) and gives it back.
type Decoder interface {
	DecodeMessage(data mem.BufferSlice, pool mem.BufferPool) error
}

// Encoder is an answer that writes itself. The buffers become the connection's, which frees them once they are sent.
type Encoder interface {
	EncodeMessage(pool mem.BufferPool) (mem.BufferSlice, error)
}

// codec is protobuf's, with a way past it.
type codec struct {
	encoding.CodecV2
	pool mem.BufferPool
}

func newCodec(pool mem.BufferPool) codec { return codec{encoding.GetCodecV2("proto"), pool} }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if d, ok := v.(Decoder); ok {
		return d.DecodeMessage(data, c.pool)
	}
	return c.CodecV2.Unmarshal(data, v)
}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(Encoder); ok {
		return e.EncodeMessage(mem.DefaultBufferPool())
	}
	return c.CodecV2.Marshal(v)
}
