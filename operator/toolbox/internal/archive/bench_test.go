package archive

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Beside `tar -c . | zstd -3 > FILE` and `zstd -d < FILE | tar -x` over the same folder: RUNABOUT_BENCH_FOLDER names one
// that is there already, else a small one is made.
func benchFolder(b *testing.B) string {
	b.Helper()
	if folder := os.Getenv("RUNABOUT_BENCH_FOLDER"); folder != "" {
		return folder
	}
	folder := b.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		data := make([]byte, 100_000)
		for at := range data { // half as dense as noise
			data[at] = byte(random.IntN(16))
		}
		file := filepath.Join(folder, fmt.Sprintf("%02d", i%20), fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return folder
}

func BenchmarkPack(b *testing.B) {
	folder := benchFolder(b)
	for b.Loop() {
		counts, err := Pack(io.Discard, []Content{{folder, ".", []string{"**"}}}, func(string) {})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(counts.Bytes)
	}
}

func BenchmarkUnpack(b *testing.B) {
	var target bytes.Buffer
	counts, err := Pack(&target, []Content{{benchFolder(b), ".", []string{"**"}}}, func(string) {})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(counts.Bytes)
	b.ReportMetric(float64(counts.Bytes)/float64(target.Len()), "ratio")
	for b.Loop() {
		tree, err := Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := tree.Unpack(bytes.NewReader(target.Bytes())); err != nil {
			b.Fatal(err)
		}
		if err := tree.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
