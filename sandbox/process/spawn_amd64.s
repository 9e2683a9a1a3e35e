//go:build linux

#include "textflag.h"

// func cloneAndRun(args *cloneArgs, ops *op, n uintptr, failed *failure) (pid uintptr)
//
// The child shares this thread's memory and stack until it execs (CLONE_VM,
// CLONE_VFORK), so it must not write to the stack, must not return, and must not
// run Go code. It keeps its state in BX, R12 and R13, which system calls leave
// alone, and works off n system calls. The first that fails is written to
// *failed, and the child ends; the last is execve, which does not come back.
//
// The thread waits for that as long as in any system call that blocks: Go gives its
// processor to others meanwhile, and need not wait for it to collect garbage.
TEXT ·cloneAndRun(SB), NOSPLIT, $0-40
	CALL runtime·entersyscall(SB)
	MOVQ ops+8(FP), R12
	MOVQ n+16(FP), R13
	MOVQ failed+24(FP), BX
	MOVQ args+0(FP), DI
	MOVQ $88, SI
	MOVQ $435, AX // clone3
	SYSCALL
	TESTQ AX, AX
	JZ   child
	MOVQ AX, pid+32(FP)
	CALL runtime·exitsyscall(SB)
	RET

child:
	TESTQ R13, R13
	JZ   end
	MOVQ 0(R12), AX
	MOVQ 8(R12), DI
	MOVQ 16(R12), SI
	MOVQ 24(R12), DX
	MOVQ 32(R12), R10
	MOVQ 40(R12), R8
	MOVQ 48(R12), R9
	SYSCALL
	CMPQ AX, $0xfffffffffffff001
	JCC  fail
	ADDQ $56, R12
	DECQ R13
	JMP  child

fail:
	NEGQ AX
	MOVQ AX, 0(BX)
	MOVQ R12, 8(BX)

end:
	MOVQ $127, DI
	MOVQ $231, AX // exit_group
	SYSCALL
	INT  $3

// firstProcess is the program that is pid 1 of every sandbox. It is never called:
// its bytes become the text of an executable of their own (see firstELF), so it
// must be position independent and call nothing. Everything that it needs was
// done before its exec: /proc is mounted, it has no privileges, its only
// descriptor is the lifeline (0), and SIGCHLD is ignored, so the kernel reaps
// the orphans that come to it. It waits for the lifeline to close, and exits;
// with it ends everything in its pid namespace.
TEXT ·firstProcess(SB), NOSPLIT|NOFRAME, $0-0
wait:
	XORL DI, DI
	LEAQ -64(SP), SI // below the stack pointer: no frame, and nobody else's
	MOVL $1, DX
	XORL AX, AX // read
	SYSCALL
	CMPQ AX, $0
	JGT  wait
	CMPQ AX, $-4 // EINTR
	JEQ  wait
	XORL DI, DI
	MOVL $231, AX // exit_group
	SYSCALL
	// The end marker that firstELF looks for: four UD2 in a row.
	BYTE $0x0f; BYTE $0x0b; BYTE $0x0f; BYTE $0x0b
	BYTE $0x0f; BYTE $0x0b; BYTE $0x0f; BYTE $0x0b
	RET

// starter is the program that every command's process runs before it is the
// command (see starter.go). Like firstProcess it is never called: its bytes become
// an executable. It is confined already, by the final filter too. It waits for one
// message on descriptor 4, a list of system calls with their operands, which it
// reads to the address that they were made for, and works them off as the child of
// cloneAndRun does; the last is execve. Where one fails it answers with the errno
// and how many were left, and ends.
TEXT ·starter(SB), NOSPLIT|NOFRAME, $0-0
	MOVL $0x10000000, DI // messageBase
	MOVL $0x20000, SI    // messageMax
	MOVL $3, DX          // PROT_READ|PROT_WRITE
	MOVL $0x32, R10      // MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED
	MOVQ $-1, R8
	XORL R9, R9
	MOVL $9, AX // mmap
	SYSCALL
	CMPQ AX, $0x10000000
	JNE  quit

receive:
	MOVL $4, DI
	MOVL $0x10000000, SI
	MOVL $0x20000, DX
	XORL AX, AX // read
	SYSCALL
	CMPQ AX, $-4 // EINTR
	JEQ  receive
	CMPQ AX, $8
	JLT  quit // Hearth is gone, or does not want it
	MOVL $0x10000000, R12
	MOVQ 0(R12), R13
	ADDQ $8, R12

next:
	TESTQ R13, R13
	JZ   quit
	MOVQ 0(R12), AX
	MOVQ 8(R12), DI
	MOVQ 16(R12), SI
	MOVQ 24(R12), DX
	MOVQ 32(R12), R10
	MOVQ 40(R12), R8
	MOVQ 48(R12), R9
	SYSCALL
	CMPQ AX, $0xfffffffffffff001
	JCC  failed
	ADDQ $56, R12
	DECQ R13
	JMP  next

failed:
	NEGQ AX
	MOVL $0x10000000, SI
	MOVQ AX, 0(SI)
	MOVQ R13, 8(SI)
	MOVL $4, DI
	MOVL $16, DX
	MOVL $1, AX // write
	SYSCALL

quit:
	MOVL $127, DI
	MOVL $231, AX // exit_group
	SYSCALL
	// The end marker.
	BYTE $0x0f; BYTE $0x0b; BYTE $0x0f; BYTE $0x0b
	BYTE $0x0f; BYTE $0x0b; BYTE $0x0f; BYTE $0x0b
	RET

// func starterText() unsafe.Pointer
TEXT ·starterText(SB), NOSPLIT, $0-8
	LEAQ ·starter(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func firstProcessText() unsafe.Pointer
TEXT ·firstProcessText(SB), NOSPLIT, $0-8
	LEAQ ·firstProcess(SB), AX
	MOVQ AX, ret+0(FP)
	RET
