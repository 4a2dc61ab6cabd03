// What the process may not do once it reads a model: open files, reach the network, start programs, look at others. Each
// part is tried by itself, because kernels differ; what holds is said to the server, which shows it.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

// drop_capabilities leaves root without what makes it root.
static bool drop_capabilities(void) {
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}};
	return syscall(SYS_capset, &head, none) == 0;
}

// readable are the only files that the process may still open, to read: what the runtime wants to know of the processor.
static const char *const readable[] = {"/proc/cpuinfo", "/sys/devices/system"};

// allow lets a ruleset read a path, where there is one.
static void allow(int set, const char *path) {
	struct __attribute__((packed)) { uint64_t access; int32_t fd; } beneath = {4 | 8, open(path, O_PATH | O_CLOEXEC)}; // read file, list folder
	struct stat st;
	if (beneath.fd < 0) return;
	if (fstat(beneath.fd, &st) == 0 && !S_ISDIR(st.st_mode)) beneath.access = 4;
	syscall(SYS_landlock_add_rule, set, 1, &beneath, 0);
	close(beneath.fd);
}

// no_files lets the process open no other file: a ruleset that handles every access.
static bool no_files(void) {
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
	if (abi < 1) return false;
	struct { uint64_t fs, net, scoped; } attr = {(1u << 13) - 1, 0, 0};
	size_t size = sizeof attr.fs;
	if (abi >= 2) attr.fs |= 1 << 13; // refer
	if (abi >= 3) attr.fs |= 1 << 14; // truncate
	if (abi >= 4) { attr.net = 3; size = sizeof attr.fs + sizeof attr.net; }
	if (abi >= 5) attr.fs |= 1 << 15; // ioctl of devices
	if (abi >= 6) { attr.scoped = 3; size = sizeof attr; }
	int set = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (set < 0) return false;
	for (size_t i = 0; i < sizeof readable / sizeof readable[0]; i++) allow(set, readable[i]);
	bool ok = syscall(SYS_landlock_restrict_self, set, 0) == 0;
	close(set);
	return ok;
}

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

// no_calls refuses the system calls that a computation has no use for. A list of what is refused, not of what is
// allowed: the runtime and the C library choose their calls by version.
static bool no_calls(void) {
#ifdef ARCHITECTURE
	static const int refused[] = {
		SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_execve, SYS_execveat, SYS_ptrace,
		SYS_process_vm_readv, SYS_process_vm_writev, SYS_kill, SYS_pidfd_open, SYS_bpf, SYS_perf_event_open, SYS_keyctl, SYS_add_key,
		SYS_mount, SYS_umount2, SYS_unshare, SYS_setns, SYS_io_uring_setup, SYS_userfaultfd, SYS_init_module, SYS_finit_module,
#ifdef SYS_fork
		SYS_fork, SYS_vfork,
#endif
	};
	enum { COUNT = sizeof refused / sizeof refused[0] };
	struct sock_filter f[COUNT + 6];
	int n = 0;
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, COUNT + 3);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, COUNT + 1, 0); // the same calls by other numbers (x32)
	for (int i = 0; i < COUNT; i++) f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)refused[i], (uint8_t)(COUNT - i), 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	struct sock_fprog program = {(unsigned short)n, f};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
#else
	return false;
#endif
}

// confine gives up all that and says what holds.
static const char *confine(void) {
	static char said[128];
	bool privileges = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
	bool files = no_files(), capabilities = drop_capabilities(), calls = privileges && no_calls();
	snprintf(said, sizeof said, "%s%s%s", files ? "no files but the processor's description, " : "", capabilities ? "no capabilities, " : "", calls ? "no sockets or programs, " : "");
	size_t n = strlen(said);
	if (n) said[n - 2] = 0;
	return said;
}
