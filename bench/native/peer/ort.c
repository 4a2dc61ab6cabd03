// One ONNX Runtime session on one thread, by its C API: loads a model and the inputs, then runs as often as each line of
// standard input says ("rows times"), and answers with seconds of wall and processor time, and a sum of the last answers.
//
//   ort LIBRARY MODEL INPUTS WIDTH OUTPUTS
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include "onnxruntime_c_api.h"

static const OrtApi* api;

static void check(OrtStatus* s) {
  if (s) {
    fprintf(stderr, "%s\n", api->GetErrorMessage(s));
    exit(1);
  }
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  void* lib = dlopen(argv[1], RTLD_NOW);
  if (!lib) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  const OrtApiBase* (*base)(void) = (const OrtApiBase* (*)(void))dlsym(lib, "OrtGetApiBase");
  api = base()->GetApi(ORT_API_VERSION);
  OrtEnv* env;
  OrtSessionOptions* options;
  OrtSession* session;
  OrtMemoryInfo* memory;
  check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "bench", &env));
  check(api->CreateSessionOptions(&options));
  check(api->SetIntraOpNumThreads(options, 1));
  check(api->SetInterOpNumThreads(options, 1));
  check(api->SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL));
  check(api->CreateSession(env, argv[2], options, &session));
  check(api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
  int64_t width = atoll(argv[4]), outputs = atoll(argv[5]);

  FILE* f = fopen(argv[3], "rb");
  if (!f) return 1;
  fseek(f, 0, SEEK_END);
  long size = ftell(f);
  rewind(f);
  float* x = aligned_alloc(64, (size + 63) / 64 * 64);
  if (fread(x, 1, size, f) != (size_t)size) return 1;
  long total = size / 4 / width;
  float* y = aligned_alloc(64, (total * outputs * 4 + 63) / 64 * 64);

  long rows, times;
  while (scanf("%ld %ld", &rows, &times) == 2) {
    long blocks = total / rows;
    OrtIoBinding** bound = malloc(blocks * sizeof *bound);
    for (long i = 0; i < blocks; i++) {
      int64_t in[] = {rows, width}, out[] = {rows, outputs};
      OrtValue *a, *b;
      check(api->CreateTensorWithDataAsOrtValue(memory, x + i * rows * width, rows * width * 4, in, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &a));
      check(api->CreateTensorWithDataAsOrtValue(memory, y + i * rows * outputs, rows * outputs * 4, out, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &b));
      check(api->CreateIoBinding(session, &bound[i]));
      check(api->BindInput(bound[i], "x", a));
      check(api->BindOutput(bound[i], "y", b));
      api->ReleaseValue(a);
      api->ReleaseValue(b);
    }
    for (long i = 0; i < 8; i++) check(api->RunWithBinding(session, NULL, bound[i % blocks]));
    double wall = now(), used = cpu();
    for (long i = 0; i < times; i++) check(api->RunWithBinding(session, NULL, bound[i % blocks]));
    used = cpu() - used, wall = now() - wall;
    double sum = 0;
    for (long i = 0; i < rows * outputs; i++) sum += y[i] * (i % 7 + 1);
    printf("{\"wall\":%.9f,\"cpu\":%.9f,\"sum\":%.6f}\n", wall, used, sum);
    fflush(stdout);
    for (long i = 0; i < blocks; i++) api->ReleaseIoBinding(bound[i]);
    free(bound);
  }
  return 0;
}
