// Package memory asks the kernel whether processes of this container were killed for lack of memory.
//
// The toolbox often survives that: with cgroup version 1, or where the kubelet kills single processes, only the largest
// process goes, and nobody in the container is told why.
package memory

import (
	"os"
	"strconv"
	"strings"
)

// Files are where the kernel counts, cgroup version 2 and 1, as a container sees its own group.
var Files = []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"}

// Kills is how many processes were killed since the container began, by the first of the files that says so; 0 if none
// does.
func Kills(files []string) int {
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(data), "\n") {
			name, number, _ := strings.Cut(line, " ")
			if name != "oom_kill" {
				continue
			}
			if count, err := strconv.Atoi(number); err == nil {
				return count
			}
		}
	}
	return 0
}
