package script

// memfdCreate is the number of the system call on this architecture; package syscall was frozen before it existed.
const memfdCreate = 279
