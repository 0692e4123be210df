package transfer

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Options are the command line's.
type Options struct {
	PlanFile   string
	Number     int // of the step, from 0
	Dir        string
	Credential *syscall.Credential // of the step's user, nil: as this process
	Started    time.Time           // the task, for the dates in keys
}

// Arguments are the command line of these options, for Parse.
func (o Options) Arguments() []string {
	result := []string{
		"toolbox", "transfer", "--plan", o.PlanFile, "--step", strconv.Itoa(o.Number), "--dir", o.Dir,
		"--started", strconv.FormatInt(o.Started.Unix(), 10),
	}
	if o.Credential != nil {
		ids := []string{strconv.FormatUint(uint64(o.Credential.Uid), 10), strconv.FormatUint(uint64(o.Credential.Gid), 10)}
		for _, group := range o.Credential.Groups {
			ids = append(ids, strconv.FormatUint(uint64(group), 10))
		}
		result = append(result, "--ids", strings.Join(ids, ","))
	}
	return result
}

// Parse reads the arguments after the command's name.
func Parse(arguments []string) (Options, error) {
	flags := flag.NewFlagSet("toolbox transfer", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var options Options
	flags.StringVar(&options.PlanFile, "plan", "", "")
	flags.IntVar(&options.Number, "step", -1, "")
	flags.StringVar(&options.Dir, "dir", "", "")
	started := flags.Int64("started", 0, "")
	ids := flags.String("ids", "", "")
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if options.PlanFile == "" || options.Dir == "" || options.Number < 0 || flags.NArg() != 0 {
		return options, errors.New("--plan, --step and --dir are needed, and nothing else")
	}
	options.Started = time.Unix(*started, 0)
	if *ids == "" {
		return options, nil
	}
	var numbers []uint32
	for _, text := range strings.Split(*ids, ",") {
		number, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return options, fmt.Errorf("--ids: %w", err)
		}
		numbers = append(numbers, uint32(number))
	}
	if len(numbers) < 2 {
		return options, errors.New("--ids needs a user and a group")
	}
	options.Credential = &syscall.Credential{Uid: numbers[0], Gid: numbers[1], Groups: numbers[2:]}
	return options, nil
}
