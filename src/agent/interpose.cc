// mremap, and libc's syscall(), by which a program makes any of the hooked calls.
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/hooked.h"
#include "kernel/raw_syscall.h"

// The next definition of syscall(), libc's or another preload's; 0 before the constructor.
extern "C" __attribute__((visibility("hidden"))) void* drover_next_syscall;
void* drover_next_syscall = nullptr;

namespace drover::agent {
namespace {

Hooked<void*(void*, size_t, size_t, int, ...)> real_mremap{"mremap"};
Hooked<int(void*, size_t, int)> real_madvise{"madvise"};
Hooked<long(long, ...)> real_syscall{"syscall"};

bool CanBeNotedTwice(long number) {
  return number != SYS_futex && number != SYS_clone && number != SYS_clone3;
}

bool IsForkAdvice(long number, uint64_t advice) {
  return number == SYS_madvise && (advice == MADV_DONTFORK || advice == MADV_DOFORK);
}

// Guards throw pages away, and the kernel raises no event for them: set and taken back while a page
// is away they would leave no trace, and the page would come back with its content.
bool IsGuardAdvice(long number, uint64_t advice) {
  constexpr uint64_t kGuardInstall = 102;  // Linux 6.13
  return number == SYS_madvise && advice == kGuardInstall;
}

}  // namespace

void ResolveHooked() {
  real_mremap.get();
  real_madvise.get();
  drover_next_syscall = reinterpret_cast<void*>(real_syscall.get());
  ResolveIdentity();
  ResolveStandBack();
  ResolveFork();
  ResolveThread();
}

}  // namespace drover::agent

using namespace drover::agent;
using drover::kernel::RawSyscall;

// A registered batch splits its mapping, and an mremap over such a border fails, from Linux 6.17 on
// after it has moved a part.
DROVER_EXPORT void* mremap(void* old, size_t length, size_t wanted, int flags, ...) noexcept {
  va_list rest;
  va_start(rest, flags);
  void* target = (flags & (MREMAP_FIXED | 4 /* DONTUNMAP */)) ? va_arg(rest, void*) : nullptr;
  va_end(rest);
  const Passage passage;
  // It may carry along what children do not inherit.
  if (passage.shared() != nullptr) passage.shared()->dont_fork_changed.store(1);
  return real_mremap.get()(old, length, wanted, flags, target);
}

// What a child inherits the engine sets and takes back itself for its batch; and guards.
DROVER_EXPORT int madvise(void* start, size_t length, int advice) noexcept {
  const auto call = [&] { return real_madvise.get()(start, length, advice); };
  const auto kind = static_cast<uint64_t>(advice);
  const bool for_children = IsForkAdvice(SYS_madvise, kind);
  if (!for_children && !IsGuardAdvice(SYS_madvise, kind)) return call();
  const Passage passage;
  if (for_children && passage.shared() != nullptr) passage.shared()->dont_fork_changed.store(1);
  return call();
}

// ---- syscall(). In assembly, because after some calls (clone with a stack of its own) the child
// returns from it on another stack, as it does from libc's.

namespace {
// What drover_before_syscall answers.
enum : uint32_t {
  kPlain,       // the next syscall() makes it
  kInC,         // drover_syscall makes it
  kLeaveAfter,  // make it, and in the process that made it call drover_after_clone
};
}  // namespace

extern "C" __attribute__((visibility("hidden"))) uint32_t drover_before_syscall(long number,
                                                                                const uint64_t* a) {
  if (CopiesMemory(number, a) && ForkIsGated()) {
    EnterGate();
    return kLeaveAfter;
  }
  const bool hooked = number == SYS_mremap || IsForkAdvice(number, a[2]) ||
                      IsGuardAdvice(number, a[2]) || ChangesIdentity(number) ||
                      NeedsAgentGone(number, static_cast<long>(a[0]));
  if (hooked) return kInC;
  const uint32_t set = StandBackOfCall(number, a);
  if (set == 0) return kPlain;
  NoteAtTheBoundary(set);
  // Of a futex call, which may wait for long, and of clone, whose child returns elsewhere, that
  // must do. What else is made is noted again when it is there.
  return CanBeNotedTwice(number) ? kInC : kPlain;
}

extern "C" __attribute__((visibility("hidden"))) void drover_after_clone() {
  LeaveGate();
}

extern "C" __attribute__((visibility("hidden"))) long drover_syscall(long number,
                                                                     const uint64_t* a) {
  if (NeedsAgentGone(number, static_cast<long>(a[0]))) EndAgent();
  const auto call = [&] { return InErrno(RawSyscall(number, a[0], a[1], a[2], a[3], a[4], a[5])); };
  if (number == SYS_mremap || IsForkAdvice(number, a[2])) {
    const Passage passage;
    if (passage.shared() != nullptr) passage.shared()->dont_fork_changed.store(1);
    return call();
  }
  if (IsGuardAdvice(number, a[2])) {
    const Passage passage;
    return call();
  }
  const uint32_t set = StandBackOfCall(number, a);
  const long result = call();
  if (result == 0 && ChangesIdentity(number)) ShareIdentity();
  if (result >= 0 && set != 0) NoteAtTheBoundary(set);
  return result;
}

asm(R"(
        .text
        .globl  syscall
        .type   syscall, @function
syscall:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        subq    $64, %rsp
        movq    %rdi, (%rsp)
        movq    %rsi, 8(%rsp)
        movq    %rdx, 16(%rsp)
        movq    %rcx, 24(%rsp)
        movq    %r8, 32(%rsp)
        movq    %r9, 40(%rsp)
        movq    16(%rbp), %rax          # the seventh argument
        movq    %rax, 48(%rsp)
        leaq    8(%rsp), %rsi
        call    drover_before_syscall
        cmpl    $1, %eax
        je      .Lin_c
        cmpl    $2, %eax
        je      .Lgated
        cmpq    $0, drover_next_syscall(%rip)
        je      .Lgated                 # none yet: the instruction, and no gate to leave
        movq    (%rsp), %rdi
        movq    8(%rsp), %rsi
        movq    16(%rsp), %rdx
        movq    24(%rsp), %rcx
        movq    32(%rsp), %r8
        movq    40(%rsp), %r9
        xorl    %eax, %eax
        .cfi_remember_state
        leave
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        jmp     *drover_next_syscall(%rip)
.Lgated:
        .cfi_restore_state
        movl    %eax, %ecx
        movq    (%rsp), %rax
        movq    8(%rsp), %rdi
        movq    16(%rsp), %rsi
        movq    24(%rsp), %rdx
        movq    32(%rsp), %r10
        movq    40(%rsp), %r8
        movq    48(%rsp), %r9
        leave
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        cmpl    $2, %ecx
        je      .Lclone
        syscall
        cmpq    $-4095, %rax
        jae     .Lerror
        ret
.Lclone:
        syscall
        testq   %rax, %rax
        jnz     .Lparent
        ret
.Lparent:
        pushq   %rax
        .cfi_def_cfa_offset 16
        call    drover_after_clone
        popq    %rax
        .cfi_def_cfa_offset 8
        cmpq    $-4095, %rax
        jae     .Lerror
        ret
.Lerror:
        negl    %eax
        pushq   %rax
        .cfi_def_cfa_offset 16
        call    __errno_location@PLT
        popq    %rcx
        .cfi_def_cfa_offset 8
        movl    %ecx, (%rax)
        movq    $-1, %rax
        ret
.Lin_c:
        .cfi_def_cfa %rbp, 16
        .cfi_offset %rbp, -16
        movq    (%rsp), %rdi
        leaq    8(%rsp), %rsi
        call    drover_syscall
        leave
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   syscall, .-syscall
)");
