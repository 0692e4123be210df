// Package files does what a step that saves or restores does with files, in a process that has the rights of the step's
// user and nothing else: no token, no connection, only a pipe to the process that has them.
package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"runabout.dev/toolbox/internal/archive"
	"runabout.dev/toolbox/internal/paths"
	"runabout.dev/toolbox/internal/plan"
	"runabout.dev/toolbox/internal/template"
)

// The descriptors that a process inherits besides the standard ones; the job comes from standard input.
const (
	ReportAs = 3
	DataAs   = 4
)

// softMemory keeps the garbage of a pod with little memory small; packing needs some 20 MiB of it.
const softMemory = 32 << 20

// maxNotices bounds what is said about single files.
const maxNotices = 50

// Job is what to do: exactly one of the three. The working directory and HOME are the process's.
type Job struct {
	Render []string       `json:"render,omitempty"` // keys to fill in
	Time   int64          `json:"time,omitempty"`   // for their dates, in seconds since 1970
	Pack   []plan.Content `json:"pack,omitempty"`   // to be written to DataAs
	Unpack string         `json:"unpack,omitempty"` // where to, from DataAs
}

// Report is what came of it.
type Report struct {
	Keys   []string       `json:"keys,omitempty"`
	Counts archive.Counts `json:"counts"`
	Error  string         `json:"error,omitempty"`
}

// Run reads a job, does it and reports; the notices go to log, one a line. Its exit code says whether there is a report.
func Run(input io.Reader, log io.Writer) int {
	debug.SetMemoryLimit(softMemory)
	var job Job
	if err := json.NewDecoder(input).Decode(&job); err != nil {
		fmt.Fprintf(log, "toolbox files is started by the toolbox itself: its job cannot be read: %v\n", err)
		return 2
	}
	output, data := os.NewFile(ReportAs, "report"), os.NewFile(DataAs, "data")
	report, err := do(job, data, limited(log))
	if err != nil {
		report.Error = err.Error()
	}
	if err := errors.Join(data.Close(), json.NewEncoder(output).Encode(report)); err != nil {
		fmt.Fprintf(log, "toolbox files: there is nobody to report to: %v\n", err)
		return 2
	}
	return 0
}

func do(job Job, data *os.File, notice func(string)) (Report, error) {
	dir, err := os.Getwd()
	if err != nil {
		return Report{}, err
	}
	home := os.Getenv("HOME")
	switch {
	case job.Pack != nil:
		contents := make([]archive.Content, len(job.Pack))
		for i, one := range job.Pack {
			contents[i] = archive.Content{SourceDir: paths.Absolute(one.SourceDir, home, dir), DestDir: one.DestDir, Paths: one.Paths}
		}
		counts, err := archive.Pack(data, contents, notice)
		return Report{Counts: counts}, err
	case job.Unpack != "":
		counts, err := unpack(paths.Absolute(job.Unpack, home, dir), data)
		return Report{Counts: counts}, err
	default:
		context := template.Context{Dir: dir, Home: home, LookupEnv: os.LookupEnv, Time: time.Unix(job.Time, 0)}
		keys := make([]string, len(job.Render))
		for i, text := range job.Render {
			if keys[i], err = template.Render(text, context); err != nil {
				return Report{}, fmt.Errorf("the key %q: %w", text, err)
			}
		}
		return Report{Keys: keys}, nil
	}
}

func unpack(dir string, source io.Reader) (archive.Counts, error) {
	tree, err := archive.Open(dir)
	if err != nil {
		return archive.Counts{}, err
	}
	counts, err := tree.Unpack(source)
	return counts, errors.Join(err, tree.Close())
}

// limited gives the first notices only.
func limited(log io.Writer) func(string) {
	count := 0
	return func(text string) {
		switch count++; {
		case count <= maxNotices:
			fmt.Fprintf(log, "notice: %s\n", text)
		case count == maxNotices+1:
			fmt.Fprintln(log, "notice: there is more of this kind, which is not said any more")
		}
	}
}
