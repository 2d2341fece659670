/* SPDX-License-Identifier: Apache-2.0 */
/* Stack, main, sleep. */
  .section .text.start
  .globl _start
_start:
  la sp, stack_top
  call main
1:
  wfi
  j 1b
