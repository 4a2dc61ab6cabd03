package kernel

import "golang.org/x/sys/cpu"

func passedOver() (sets []*Set) {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		s := avx2()
		s.Name, s.integer = "avx2 without VNNI", integer2(64, false)
		sets = append(sets, s)
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
		s := avx512()
		s.Name, s.integer = "avx512 without VNNI", integer2(128, false)
		sets = append(sets, s)
	}
	return sets
}
