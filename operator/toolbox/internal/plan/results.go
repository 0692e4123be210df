package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Result is one of another task's results that steps want, and the variable that they find it in.
type Result struct {
	Task        string `json:"task"`
	Key         string `json:"key"`
	Environment string `json:"environment"`
}

// ResultTasks are the tasks of which results are wanted, each once.
func (p *Plan) ResultTasks() []string {
	var tasks []string
	for _, result := range p.Results {
		tasks = append(tasks, result.Task)
	}
	slices.Sort(tasks)
	return slices.Compact(tasks)
}

// checkResults says what is wrong with what the plan wants of other tasks.
func (p *Plan) checkResults() error {
	if len(p.Results) > 0 && p.Gateway == nil {
		return errors.New("results need the gateway: set gateway.enabled in the chart")
	}
	for i, result := range p.Results {
		if result.Task == "" || result.Key == "" || result.Environment == "" || strings.ContainsAny(result.Environment, "=\x00") {
			return fmt.Errorf("results[%d] is %+v, of which something is missing", i, result)
		}
	}
	return nil
}
