package render

import (
	"context"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// withMappedMemory lets Ruby's linear memory be one reserved mapping, so that only touched pages cost memory and
// growing copies nothing. (wazero's own is a Go slice that doubles.)
func withMappedMemory(ctx context.Context) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(
		func(capacity, maximum uint64) experimental.LinearMemory {
			size := max(capacity, min(maximum, maxMemory))
			pages, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
			if err != nil {
				pages = make([]byte, size) // address space is limited: do with ordinary memory
				return &linearMemory{pages: pages}
			}
			return &linearMemory{pages: pages, mapped: true}
		}))
}

type linearMemory struct {
	pages  []byte
	mapped bool
}

// Reallocate implements experimental.LinearMemory; nil means that there is no more.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.pages)) {
		return nil
	}
	return m.pages[:size]
}

// Free implements experimental.LinearMemory.
func (m *linearMemory) Free() {
	if m.mapped {
		_ = unix.Munmap(m.pages)
	}
	m.pages = nil
}
