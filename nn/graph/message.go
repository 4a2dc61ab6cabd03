package graph

import "google.golang.org/protobuf/encoding/protowire"

// What follows appends a field of a protocol buffer, in which both ONNX and TensorFlow keep graphs.

// AppendInt appends the field n of a whole number.
func AppendInt(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// AppendString appends the field n of a string.
func AppendString(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

// AppendBytes appends the field n of bytes or of a message.
func AppendBytes(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}
