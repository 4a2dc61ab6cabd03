// ONNX Runtime's C API called in a loop, as fast as it goes: values made once, outputs into memory that is there, nothing
// but Run between two looks at the clock. Turns are asked for on standard input.
//
//	direct LIBRARY MODEL INPUTS OUTPUTS     lines: ROWS THREADS SECONDS
//
// The answer is a line: calls, wall seconds, processor seconds, sum of the outputs of the last call.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "onnxruntime_c_api.h"

static const OrtApi *ort;
static OrtSession *session;
static OrtMemoryInfo *cpu;
static char *input_name, *output_name;
static int inputs, outputs;

static void must(OrtStatus *s) {
	if (!s) return;
	fprintf(stderr, "direct: %s\n", ort->GetErrorMessage(s));
	exit(1);
}

static double now(clockid_t c) {
	struct timespec t;
	clock_gettime(c, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

struct turn {
	int rows;
	double seconds;
	long calls;
	double sum;
};

static void *loop(void *arg) {
	struct turn *t = arg;
	float *x = aligned_alloc(64, sizeof(float) * t->rows * inputs + 64), *y = aligned_alloc(64, sizeof(float) * t->rows * outputs + 64);
	for (int i = 0; i < t->rows * inputs; i++) x[i] = (float)((i * 7919) % 256) / 255;
	int64_t in[] = {t->rows, inputs}, out[] = {t->rows, outputs};
	OrtValue *vx, *vy;
	must(ort->CreateTensorWithDataAsOrtValue(cpu, x, sizeof(float) * t->rows * inputs, in, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &vx));
	must(ort->CreateTensorWithDataAsOrtValue(cpu, y, sizeof(float) * t->rows * outputs, out, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &vy));
	for (double end = now(CLOCK_MONOTONIC) + t->seconds; now(CLOCK_MONOTONIC) < end;) {
		for (int k = 0; k < 16; k++)
			must(ort->Run(session, NULL, (const char *const *)&input_name, (const OrtValue *const *)&vx, 1, (const char *const *)&output_name, 1, &vy));
		t->calls += 16;
	}
	for (int i = 0; i < t->rows * outputs; i++) t->sum += y[i] * (i % outputs);
	ort->ReleaseValue(vx);
	ort->ReleaseValue(vy);
	free(x);
	free(y);
	return NULL;
}

int main(int argc, char **argv) {
	if (argc != 5) return 2;
	void *library = dlopen(argv[1], RTLD_NOW);
	if (!library) {
		fprintf(stderr, "direct: %s\n", dlerror());
		return 1;
	}
	const OrtApiBase *(*base)(void) = (const OrtApiBase *(*)(void))dlsym(library, "OrtGetApiBase");
	ort = base()->GetApi(17);
	inputs = atoi(argv[3]), outputs = atoi(argv[4]);
	OrtEnv *env;
	OrtSessionOptions *o;
	OrtAllocator *allocator;
	must(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "direct", &env));
	must(ort->CreateSessionOptions(&o));
	must(ort->SetIntraOpNumThreads(o, 1));
	must(ort->SetInterOpNumThreads(o, 1));
	must(ort->CreateSession(env, argv[2], o, &session));
	must(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &cpu));
	must(ort->GetAllocatorWithDefaultOptions(&allocator));
	must(ort->SessionGetInputName(session, 0, allocator, &input_name));
	must(ort->SessionGetOutputName(session, 0, allocator, &output_name));
	int rows, threads;
	double seconds;
	while (scanf("%d %d %lf", &rows, &threads, &seconds) == 3 && threads <= 64) {
		struct turn t[64];
		pthread_t id[64];
		double wall = now(CLOCK_MONOTONIC), used = now(CLOCK_PROCESS_CPUTIME_ID);
		for (int i = 0; i < threads; i++) {
			t[i] = (struct turn){rows, seconds, 0, 0};
			pthread_create(&id[i], NULL, loop, &t[i]);
		}
		long calls = 0;
		for (int i = 0; i < threads; i++) {
			pthread_join(id[i], NULL);
			calls += t[i].calls;
		}
		printf("%ld %.9f %.9f %.6f\n", calls, now(CLOCK_MONOTONIC) - wall, now(CLOCK_PROCESS_CPUTIME_ID) - used, t[0].sum);
		fflush(stdout);
	}
	return 0;
}
