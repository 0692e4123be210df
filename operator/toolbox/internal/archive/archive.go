// Package archive packs files into a tar compressed with zstd, and unpacks such archives over each other.
//
// What always holds: the same files give the same order of entries; nothing of a file is kept in memory but a few frames;
// unpacking touches nothing outside the destination, whatever an archive says, because every name is opened from the
// destination folder by folder and no symbolic link is followed on the way.
package archive

import (
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// Content says which files go into an archive.
type Content struct {
	SourceDir string   // absolute
	DestDir   string   // where they go, relative to where the archive is unpacked
	Paths     []string // patterns relative to SourceDir
}

// Counts is what is in an archive.
type Counts struct {
	Files   int64 // all but directories
	Entries int64 // with directories
	Bytes   int64 // of all files, unpacked
}

const (
	// buffer is what is unpacked at once.
	buffer = 256 << 10
	// maxWindow bounds what a decoder has to remember: what `zstd --long` asks for, and no more.
	maxWindow = 128 << 20
	// maxWorkers bounds memory, and leaves a node with many cores to others, too.
	maxWorkers = 4
)

func decompressed(source io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(source,
		zstd.WithDecoderConcurrency(workers()),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
}

func workers() int { return min(maxWorkers, runtime.GOMAXPROCS(0)) }
