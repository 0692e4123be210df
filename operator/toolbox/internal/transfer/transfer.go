// Package transfer runs the steps that save and restore workspaces and caches.
//
// It is a process of its own, with the rights of the container: it has the task's token, which the step's user need not
// be able to read. The files are another process's, which has the step's user. Neither has the other's.
package transfer

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"runabout.dev/toolbox/internal/files"
	"runabout.dev/toolbox/internal/gateway"
	"runabout.dev/toolbox/internal/mask"
	"runabout.dev/toolbox/internal/plan"
	"runabout.dev/toolbox/internal/process"
)

const (
	// cachePatience is shorter than for a workspace: a task can do without a cache.
	cachePatience = 2 * time.Minute
	// softMemory keeps the garbage of a pod with little memory small.
	softMemory = 64 << 20
)

type transfer struct {
	options Options
	step    *plan.Step
	client  *gateway.Client
	log     *lines
	secrets *mask.Mask // of the step's variables; nil for none
}

// Run runs the step and returns its exit code.
func Run(options Options, log io.Writer) int {
	debug.SetMemoryLimit(softMemory)
	if err := process.Harden(); err != nil { // it has the token
		fmt.Fprintf(log, "error: %v\n", err)
		return 1
	}
	t := &transfer{options: options, log: &lines{target: log}}
	if err := t.run(context.Background()); err != nil {
		t.say("error: %v", err)
		return 1
	}
	return 0
}

func (t *transfer) run(ctx context.Context) error {
	whole, err := plan.Read(t.options.PlanFile)
	if err != nil {
		return err
	}
	if t.options.Number < 0 || t.options.Number >= len(whole.Steps) || !whole.Steps[t.options.Number].IsArchive() {
		return fmt.Errorf("step %d of the plan saves or restores nothing", t.options.Number)
	}
	t.step = &whole.Steps[t.options.Number]
	t.secrets = mask.New(secretValues(whole, t.step))
	patience := gateway.Patience
	if t.step.Kind == plan.SaveCache || t.step.Kind == plan.RestoreCache {
		patience = cachePatience
	}
	notice := func(text string) { t.say("notice: %s", text) }
	if t.client, err = gateway.New(*whole.Gateway, whole.Run, whole.Task, whole.Attempt, patience, notice); err != nil {
		return err
	}
	switch t.step.Kind {
	case plan.SaveToWorkspace:
		return t.saveToWorkspace(ctx)
	case plan.RestoreWorkspace:
		return t.restoreWorkspace(ctx)
	case plan.SaveCache:
		return t.saveCache(ctx)
	default:
		return t.restoreCache(ctx)
	}
}

// secretValues are those of the step's variables that come from Secrets; the environment of this process is the step's.
func secretValues(whole *plan.Plan, step *plan.Step) []string {
	secret := map[string]bool{}
	for _, name := range whole.Secrets {
		secret[name] = true
	}
	for _, variable := range step.Environment { // stronger than the container's
		secret[variable.Name] = variable.Value == nil && slices.Contains(whole.Secrets, variable.From)
	}
	var values []string
	for name, isSecret := range secret {
		if value, known := os.LookupEnv(name); known && isSecret {
			values = append(values, value)
		}
	}
	return values
}

func (t *transfer) say(format string, values ...any) { fmt.Fprintf(t.log, format+"\n", values...) }

// lines lets several write, a line at a time. It is no file, so that what children write is copied and comes in order.
type lines struct {
	mutex  sync.Mutex
	target io.Writer
}

func (l *lines) Write(data []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.target.Write(data)
}

// errEmpty says that nothing fits what is to be saved.
var errEmpty = &failure{"nothing fits what contents asks for: there is nothing to save"}

// save packs the step's contents and stores them.
func (t *transfer) save(ctx context.Context, target gateway.Target) (gateway.Stored, files.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	worker, err := t.start(ctx, files.Job{Pack: t.step.Contents}, fromChild)
	if err != nil {
		return gateway.Stored{}, files.Report{}, err
	}
	var report files.Report
	ended := false
	stored, err := t.client.Upload(ctx, target, worker.data, func() (int64, int64, error) {
		ended = true
		if report, err = worker.end(); err == nil && report.Counts.Entries == 0 {
			err = errEmpty
		}
		return report.Counts.Files, report.Counts.Bytes, err
	})
	if !ended {
		cancel() // it would wait for a reader
		_, _ = worker.end()
	}
	return stored, report, err
}

// restore fetches an archive and unpacks it. It says whether anything was unpacked, also if not all was.
func (t *transfer) restore(ctx context.Context, path string, archive gateway.Archive) (report files.Report, begun bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	worker, err := t.start(ctx, files.Job{Unpack: t.step.DestDir}, toChild)
	if err != nil {
		return files.Report{}, false, err
	}
	target := &counter{target: worker.data}
	err = t.client.Download(ctx, path, archive, target)
	if err != nil && !target.broken {
		cancel()
		_, _ = worker.end()
		return files.Report{}, target.count > 0, err
	}
	report, workerErr := worker.end()
	if workerErr != nil {
		err = workerErr // why the pipe was broken
	}
	return report, true, err
}

type counter struct {
	target *os.File
	count  int64
	broken bool // the reader has gone
}

func (c *counter) Write(data []byte) (int, error) {
	n, err := c.target.Write(data)
	c.count += int64(n)
	c.broken = c.broken || err != nil
	return n, err
}

// amount says how much it was.
func amount(report files.Report) string {
	return fmt.Sprintf("%s files, %s", grouped(report.Counts.Files), size(report.Counts.Bytes))
}

func size(bytes int64) string {
	const step = 1000
	value, units := float64(bytes), []string{"bytes", "kB", "MB", "GB", "TB"}
	for len(units) > 1 && value >= step {
		value, units = value/step, units[1:]
	}
	if units[0] == "bytes" {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

func grouped(number int64) string {
	digits := fmt.Sprint(number)
	var result strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			result.WriteByte(',')
		}
		result.WriteRune(digit)
	}
	return result.String()
}
