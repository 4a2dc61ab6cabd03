// The program in which ONNX Runtime computes, apart from the server: it may crash, hang or run out of memory, and the
// server starts it anew. It knows one model and the messages of protocol.go, which this file follows to the byte.
//
//	worker LIBRARY LANES THREADS REGION MEMORY
//
// Descriptors: 3 the control socket, 4 the model, then for each lane its socket and its memory. A lane is a thread that
// answers one request after the other; tensors lie in the lane's memory, which the server shares. Once the library is
// loaded and before the model is read, the process gives up every right that it has: files, sockets, programs.
//
// Messages come from the server, which is trusted; what they say is checked all the same, because a worker that answers
// nonsense is harder to understand than one that says what it did not like.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "onnxruntime_c_api.h"

#include "confine.h"

enum { CONTROL = 3, MODEL = 4, FIRST_LANE = 5 };
enum { API = 17 };                // an old one, so that old libraries serve; everything used was there by then
enum { MOST_TENSORS = 256, MOST_DIMS = 16, MOST_LANES = 256 };
enum { READY = 1, FAILED = 2, NO_LIBRARY = 3 }; // control, to the server
enum { OK = 0, INVALID = 1, FAULT = 2, NO_ROOM = 3, NO_MEMORY = 4, STOPPED = 5, UNSUPPORTED = 6 }; // a lane's answers
enum { MESSAGE = 64 << 10 };      // the largest message of a lane
enum { ALIGN = 64 };

struct request { uint64_t seq; uint32_t tensors, pad; };
struct reply { uint64_t seq; uint32_t status, tensors; };
struct tensor { uint32_t type, dims; uint64_t offset, bytes; }; // followed by int64 dims
struct stop { uint32_t lane, pad; uint64_t seq; };              // control, to the worker

struct lane {
	int socket;
	char *region;
	pthread_mutex_t lock; // guards seq and the flag of opts
	uint64_t seq;         // of the request being computed, or 0
	OrtRunOptions *opts;
	char message[MESSAGE];
};

static const OrtApi *ort;
static OrtSession *session;
static OrtMemoryInfo *cpu;
static OrtAllocator *allocator;
static size_t region_size;
static size_t inputs, outputs;
static char **input_names, **output_names;
static struct lane *lanes;
static size_t lane_count;

// A growing text, for what is said on the control socket.
struct text { char *p; size_t n, cap; };

static void put(struct text *t, const void *p, size_t n) {
	if (t->n + n > t->cap) {
		t->cap = (t->n + n) * 2;
		t->p = realloc(t->p, t->cap);
		if (!t->p) _exit(3);
	}
	memcpy(t->p + t->n, p, n);
	t->n += n;
}
static void put32(struct text *t, uint32_t v) { put(t, &v, sizeof v); }
static void put64(struct text *t, uint64_t v) { put(t, &v, sizeof v); }
static void put_string(struct text *t, const char *s) {
	put32(t, (uint32_t)strlen(s));
	put(t, s, strlen(s));
}

static void tell(uint32_t kind, const struct text *t) {
	uint32_t head[2] = {kind, (uint32_t)t->n};
	struct text all = {0};
	put(&all, head, sizeof head);
	put(&all, t->p, t->n);
	for (size_t at = 0; at < all.n;) {
		ssize_t n = send(CONTROL, all.p + at, all.n - at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) _exit(3);
		at += (size_t)n;
	}
	free(all.p);
}

static void fail(const char *format, ...) {
	char line[4096];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	struct text t = {0};
	put(&t, line, strlen(line));
	tell(ort ? FAILED : NO_LIBRARY, &t);
	_exit(1);
}

static void must(OrtStatus *s, const char *what) {
	if (s) fail("%s: %s", what, ort->GetErrorMessage(s));
}

// describe says what an input or an output is: name, type, dimensions with their symbols.
static void describe(struct text *t, const char *name, OrtTypeInfo *info) {
	enum ONNXType kind;
	must(ort->GetOnnxTypeFromTypeInfo(info, &kind), "the model");
	put_string(t, name);
	if (kind != ONNX_TYPE_TENSOR) { // type 0: no tensor
		put32(t, 0);
		put32(t, 0);
		return;
	}
	const OrtTensorTypeAndShapeInfo *shape;
	must(ort->CastTypeInfoToTensorInfo(info, &shape), "the model");
	ONNXTensorElementDataType type;
	must(ort->GetTensorElementType(shape, &type), "the model");
	size_t dims;
	must(ort->GetDimensionsCount(shape, &dims), "the model");
	if (dims > MOST_DIMS) fail("%s has %zu dimensions, %d are the most", name, dims, MOST_DIMS);
	int64_t d[MOST_DIMS];
	const char *symbols[MOST_DIMS];
	must(ort->GetDimensions(shape, d, dims), "the model");
	must(ort->GetSymbolicDimensions(shape, symbols, dims), "the model");
	put32(t, type);
	put32(t, (uint32_t)dims);
	for (size_t i = 0; i < dims; i++) {
		put64(t, (uint64_t)d[i]);
		put_string(t, symbols[i]);
	}
}

static uint64_t round_up(uint64_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

// say_text answers with an error.
static size_t say_text(struct lane *l, uint64_t seq, uint32_t status, const char *text) {
	struct reply r = {seq, status, 0};
	size_t n = strlen(text);
	if (n > 4096) n = 4096;
	memcpy(l->message, &r, sizeof r);
	memmove(l->message + sizeof r, text, n);
	return sizeof r + n;
}

// strings_in fills a tensor of strings from the lengths and bytes in memory.
static OrtStatus *strings_in(const char *p, uint64_t bytes, const int64_t *dims, size_t n, OrtValue **v) {
	uint64_t count = 1;
	for (size_t i = 0; i < n; i++) count *= (uint64_t)dims[i];
	if (count > bytes / 4) return ort->CreateStatus(ORT_INVALID_ARGUMENT, "fewer strings than the shape says");
	OrtStatus *s = ort->CreateTensorAsOrtValue(allocator, dims, n, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, v);
	uint64_t at = count * 4;
	for (uint64_t i = 0; i < count && !s; i++) {
		uint32_t length;
		memcpy(&length, p + i * 4, 4);
		if (length > bytes - at) return ort->CreateStatus(ORT_INVALID_ARGUMENT, "a string is longer than its memory");
		char *to;
		s = ort->GetResizedStringTensorElementBuffer(*v, i, length, &to);
		if (!s) memcpy(to, p + at, length);
		at += length;
	}
	return s;
}

// give_in makes the values of a request; *end is where its memory ends.
static OrtStatus *give_in(struct lane *l, size_t got, OrtValue **in, uint64_t *end) {
	const char *p = l->message + sizeof(struct request), *stop = l->message + got;
	*end = 0;
	for (size_t i = 0; i < inputs; i++) {
		struct tensor t;
		int64_t dims[MOST_DIMS];
		if ((size_t)(stop - p) < sizeof t) return ort->CreateStatus(ORT_INVALID_ARGUMENT, "a request that is cut off");
		memcpy(&t, p, sizeof t);
		p += sizeof t;
		if (t.dims > MOST_DIMS || (size_t)(stop - p) < t.dims * sizeof(int64_t) || t.offset > region_size || t.bytes > region_size - t.offset)
			return ort->CreateStatus(ORT_INVALID_ARGUMENT, "a tensor outside of its memory");
		memcpy(dims, p, t.dims * sizeof(int64_t));
		p += t.dims * sizeof(int64_t);
		OrtStatus *s = t.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING
			? strings_in(l->region + t.offset, t.bytes, dims, t.dims, &in[i])
			: ort->CreateTensorWithDataAsOrtValue(cpu, l->region + t.offset, t.bytes, dims, t.dims, (ONNXTensorElementDataType)t.type, &in[i]);
		if (s) return s;
		if (t.offset + t.bytes > *end) *end = t.offset + t.bytes;
	}
	return NULL;
}

static size_t element_size(ONNXTensorElementDataType type) {
	switch (type) {
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: return 1;
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16: return 2;
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return 4;
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
	case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE: return 8;
	default: return 0;
	}
}

// strings_out writes lengths and bytes.
static OrtStatus *strings_out(OrtValue *v, size_t count, char *to, uint64_t room, uint64_t *bytes) {
	size_t length;
	OrtStatus *s = ort->GetStringTensorDataLength(v, &length);
	if (s) return s;
	*bytes = (uint64_t)count * 4 + length;
	if (*bytes > room || count == 0) return NULL;
	size_t *offsets = malloc(count * sizeof *offsets);
	if (!offsets) return ort->CreateStatus(ORT_FAIL, "bad_alloc");
	s = ort->GetStringTensorContent(v, to + count * 4, length, offsets, count);
	for (size_t i = 0; i < count && !s; i++) {
		uint32_t n = (uint32_t)((i + 1 < count ? offsets[i + 1] : length) - offsets[i]);
		memcpy(to + i * 4, &n, 4);
	}
	free(offsets);
	return s;
}

// take_out copies one output to memory behind *end and describes it at *at of the message; *end says how much it takes
// also where that is more than there is.
static OrtStatus *take_out(struct lane *l, OrtValue *v, size_t *at, uint64_t *end) {
	if (!v) return ort->CreateStatus(ORT_NOT_IMPLEMENTED, "an output is absent (an optional one): such a model is not served");
	int is;
	OrtStatus *s = ort->IsTensor(v, &is);
	if (s) return s;
	if (!is) return ort->CreateStatus(ORT_NOT_IMPLEMENTED, "an output is no tensor (a sequence or map)");
	OrtTensorTypeAndShapeInfo *info;
	if ((s = ort->GetTensorTypeAndShape(v, &info))) return s;
	ONNXTensorElementDataType type = 0;
	size_t dims = 0, count = 0;
	int64_t d[MOST_DIMS];
	s = ort->GetTensorElementType(info, &type);
	if (!s) s = ort->GetDimensionsCount(info, &dims);
	if (!s && dims > MOST_DIMS) s = ort->CreateStatus(ORT_NOT_IMPLEMENTED, "an output has more than 16 dimensions");
	if (!s) s = ort->GetDimensions(info, d, dims);
	if (!s) s = ort->GetTensorShapeElementCount(info, &count);
	ort->ReleaseTensorTypeAndShapeInfo(info);
	if (s) return s;
	struct tensor t = {type, (uint32_t)dims, round_up(*end), 0};
	uint64_t room = t.offset < region_size ? region_size - t.offset : 0;
	if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING) {
		if ((s = strings_out(v, count, l->region + t.offset, room, &t.bytes))) return s;
	} else if (count > 0) {
		void *data;
		if (!element_size(type)) return ort->CreateStatus(ORT_NOT_IMPLEMENTED, "an output is of a type that is not served");
		if ((s = ort->GetTensorMutableData(v, &data))) return s;
		t.bytes = count * element_size(type);
		if (t.bytes <= room) memcpy(l->region + t.offset, data, t.bytes);
	}
	*end = t.offset + t.bytes;
	if (*at + sizeof t + dims * sizeof(int64_t) > MESSAGE) return ort->CreateStatus(ORT_NOT_IMPLEMENTED, "too many outputs");
	memcpy(l->message + *at, &t, sizeof t);
	memcpy(l->message + *at + sizeof t, d, dims * sizeof(int64_t));
	*at += sizeof t + dims * sizeof(int64_t);
	return NULL;
}

static size_t say_status(struct lane *l, uint64_t seq, OrtStatus *s, bool stopped) {
	const char *text = ort->GetErrorMessage(s);
	uint32_t status = FAULT;
	switch (ort->GetErrorCode(s)) {
	case ORT_INVALID_ARGUMENT: status = INVALID; break;
	case ORT_NOT_IMPLEMENTED: status = UNSUPPORTED; break;
	default: break;
	}
	if (stopped)
		status = STOPPED;
	else if (strstr(text, "bad_alloc") || strstr(text, "llocate memory") || strstr(text, "llocation failed"))
		status = NO_MEMORY;
	size_t n = say_text(l, seq, status, text);
	ort->ReleaseStatus(s);
	return n;
}

// answer computes one request and gives the size of the reply, which lies in the lane's message.
static size_t answer(struct lane *l, size_t got) {
	struct request r;
	if (got < sizeof r) return say_text(l, 0, INVALID, "a request that is cut off");
	memcpy(&r, l->message, sizeof r);
	if (r.tensors != inputs) return say_text(l, r.seq, INVALID, "another number of inputs than the model has");
	OrtValue *in[MOST_TENSORS] = {0}, *out[MOST_TENSORS] = {0};
	uint64_t end;
	bool stopped = false;
	OrtStatus *s = give_in(l, got, in, &end);
	if (!s) {
		pthread_mutex_lock(&l->lock);
		l->seq = r.seq;
		pthread_mutex_unlock(&l->lock);
		s = ort->Run(session, l->opts, (const char *const *)input_names, (const OrtValue *const *)in, inputs, (const char *const *)output_names, outputs, out);
		pthread_mutex_lock(&l->lock);
		stopped = l->seq == 0; // by stop_lane
		l->seq = 0;
		if (stopped) ort->ReleaseStatus(ort->RunOptionsUnsetTerminate(l->opts));
		pthread_mutex_unlock(&l->lock);
	}
	size_t at = sizeof(struct reply);
	for (size_t i = 0; i < outputs && !s; i++) s = take_out(l, out[i], &at, &end);
	size_t n;
	if (s) {
		n = say_status(l, r.seq, s, stopped);
	} else if (end > region_size) {
		char text[64];
		snprintf(text, sizeof text, "%llu", (unsigned long long)end);
		n = say_text(l, r.seq, NO_ROOM, text);
	} else {
		struct reply ok = {r.seq, OK, (uint32_t)outputs};
		memcpy(l->message, &ok, sizeof ok);
		n = at;
	}
	for (size_t i = 0; i < inputs; i++) if (in[i]) ort->ReleaseValue(in[i]);
	for (size_t i = 0; i < outputs; i++) if (out[i]) ort->ReleaseValue(out[i]);
	return n;
}

static void *work(void *arg) {
	struct lane *l = arg;
	for (;;) {
		ssize_t n = recv(l->socket, l->message, MESSAGE, 0);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return NULL;
		size_t m = answer(l, (size_t)n);
		if (send(l->socket, l->message, m, MSG_NOSIGNAL) < 0) return NULL;
	}
}

// stop_lane asks the runtime to leave a request that nobody waits for.
static void stop_lane(const struct stop *s) {
	if (s->lane >= lane_count) return;
	struct lane *l = &lanes[s->lane];
	pthread_mutex_lock(&l->lock);
	if (s->seq != 0 && l->seq == s->seq) {
		ort->ReleaseStatus(ort->RunOptionsSetTerminate(l->opts));
		l->seq = 0;
	}
	pthread_mutex_unlock(&l->lock);
}

static const OrtApiBase *load(const char *path) {
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) fail("%s", dlerror());
	const OrtApiBase *(*base)(void) = (const OrtApiBase *(*)(void))dlsym(library, "OrtGetApiBase");
	if (!base) fail("%s is no ONNX Runtime: it has no OrtGetApiBase", path);
	ort = base()->GetApi(API);
	if (!ort) fail("ONNX Runtime %s is too old: 1.%d or newer is needed", base()->GetVersionString(), API);
	return base();
}

static void open_session(OrtEnv *env, int threads) {
	struct stat st;
	if (fstat(MODEL, &st) || st.st_size <= 0) fail("the model cannot be read");
	void *model = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, MODEL, 0);
	if (model == MAP_FAILED) fail("the model cannot be read: %s", strerror(errno));
	OrtSessionOptions *o;
	must(ort->CreateSessionOptions(&o), "options");
	must(ort->SetIntraOpNumThreads(o, threads), "options");
	must(ort->SetInterOpNumThreads(o, 1), "options");
	must(ort->AddSessionConfigEntry(o, "session.intra_op.allow_spinning", "0"), "options");
	must(ort->AddSessionConfigEntry(o, "session.inter_op.allow_spinning", "0"), "options");
	OrtStatus *s = ort->CreateSessionFromArray(env, model, (size_t)st.st_size, o, &session);
	if (s) fail("%s", ort->GetErrorMessage(s));
	ort->ReleaseSessionOptions(o);
	munmap(model, (size_t)st.st_size);
	close(MODEL);
	must(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &cpu), "memory");
	must(ort->GetAllocatorWithDefaultOptions(&allocator), "memory");
}

// names keeps the names of inputs and outputs and describes both.
static void names(struct text *t) {
	must(ort->SessionGetInputCount(session, &inputs), "the model");
	must(ort->SessionGetOutputCount(session, &outputs), "the model");
	if (inputs > MOST_TENSORS || outputs > MOST_TENSORS) fail("the model has %zu inputs and %zu outputs: %d of each are the most", inputs, outputs, MOST_TENSORS);
	input_names = calloc(inputs + 1, sizeof *input_names);
	output_names = calloc(outputs + 1, sizeof *output_names);
	put32(t, (uint32_t)inputs);
	put32(t, (uint32_t)outputs);
	for (size_t i = 0; i < inputs + outputs; i++) {
		size_t k = i < inputs ? i : i - inputs;
		char **name = i < inputs ? &input_names[k] : &output_names[k];
		OrtTypeInfo *info;
		must(i < inputs ? ort->SessionGetInputName(session, k, allocator, name) : ort->SessionGetOutputName(session, k, allocator, name), "the model");
		must(i < inputs ? ort->SessionGetInputTypeInfo(session, k, &info) : ort->SessionGetOutputTypeInfo(session, k, &info), "the model");
		describe(t, *name, info);
		ort->ReleaseTypeInfo(info);
	}
}

static void start_lanes(void) {
	lanes = calloc(lane_count, sizeof *lanes);
	if (!lanes) fail("no memory for %zu lanes", lane_count);
	for (size_t i = 0; i < lane_count; i++) {
		struct lane *l = &lanes[i];
		l->socket = FIRST_LANE + 2 * (int)i;
		l->region = mmap(NULL, region_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, l->socket + 1, 0);
		if (l->region == MAP_FAILED) fail("the shared memory cannot be mapped: %s", strerror(errno));
		pthread_mutex_init(&l->lock, NULL);
		must(ort->CreateRunOptions(&l->opts), "options");
		pthread_t thread;
		if (pthread_create(&thread, NULL, work, l)) fail("no thread for lane %zu", i);
		pthread_detach(thread);
	}
}

int main(int argc, char **argv) {
	if (argc != 6) {
		fprintf(stderr, "this program is started by the server\n");
		return 2;
	}
	lane_count = strtoul(argv[2], NULL, 10);
	int threads = atoi(argv[3]);
	region_size = strtoull(argv[4], NULL, 10);
	rlim_t memory = strtoull(argv[5], NULL, 10);
	if (lane_count < 1 || lane_count > MOST_LANES) fail("%zu lanes: 1 to %d may be", lane_count, MOST_LANES);
	struct rlimit none = {0, 0}, limit = {memory, memory};
	setrlimit(RLIMIT_CORE, &none); // a core file would hold the model
	prctl(PR_SET_DUMPABLE, 0);
	if (memory && setrlimit(RLIMIT_DATA, &limit)) fail("the memory cannot be limited: %s", strerror(errno));

	const OrtApiBase *base = load(argv[1]);
	const char *confined = confine(); // before there is another thread: each has its own rights
	OrtEnv *env;
	must(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "lineshaft", &env), "ONNX Runtime");
	open_session(env, threads);
	struct text t = {0};
	put_string(&t, base->GetVersionString());
	put_string(&t, confined);
	names(&t);
	start_lanes();
	tell(READY, &t);
	free(t.p);

	struct stop s;
	for (;;) {
		ssize_t n = recv(CONTROL, &s, sizeof s, MSG_WAITALL);
		if (n < 0 && errno == EINTR) continue;
		if (n != sizeof s) _exit(0); // the server is gone, or done with the model
		stop_lane(&s);
	}
}
