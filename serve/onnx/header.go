//go:build onnxheader

package onnx

import _ "github.com/yalue/onnxruntime_go" // carries onnxruntime_c_api.h, which worker.c needs; nothing is built with the tag
