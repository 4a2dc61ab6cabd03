//go:build linux

package local

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastSignal is the highest number of a signal.
const lastSignal = 64

// unignore gives every signal that is ignored its default meaning again. What is ignored stays so over exec: a server
// started by nohup would hand that on to its tasks, and make's children ignore the first real-time signals.
func unignore() {
	const sigDfl, sigIgn = 0, 1
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		// struct sigaction begins with the handler on every architecture; all zeros is the default one, without flags.
		var old, def [8]uintptr
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&old)), lastSignal/8, 0, 0)
		if errno == 0 && old[0] == sigIgn {
			def[0] = sigDfl
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&def)), 0, lastSignal/8, 0, 0) //nolint:errcheck // SIGKILL and SIGSTOP stay as they are
		}
	}
}
