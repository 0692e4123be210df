// Package spool keeps a bounded copy of a task's output in memory and has it sent away, a chunk at a time.
//
// What always holds: no more than Limit bytes are in memory; a chunk is a range of one step's output without a gap; what
// is sent is what was added, in its order, and what could not be kept is simply not sent: the output went another way too.
// Whoever adds output waits for room no longer than Patience, all in all.
package spool

import (
	"context"
	"errors"
	"sync"
	"time"

	"runabout.dev/toolbox/internal/gateway"
)

const (
	// Limit is how many bytes wait at most.
	Limit = 8 << 20
	// Chunk is how many bytes go at once.
	Chunk = 1 << 20
	// Patience is how long output waits for room while chunks are being sent, in all of a task's life.
	Patience = 5 * time.Second
	// FlushTime is how long the end of the task waits for the last chunks.
	FlushTime = 5 * time.Second
	// failingTime is the same where the last try failed.
	failingTime = time.Second

	shortestPause = 2 * time.Second
	longestPause  = 15 * time.Second
)

// Send takes a chunk away: bytes of a step (-1: the setup) from an offset on. It repeats what can be repeated, and says
// so by calling failing.
type Send func(ctx context.Context, step int, offset int64, data []byte) error

// Spool is the copy. Add is called by one goroutine at a time.
type Spool struct {
	send   Send
	cancel context.CancelFunc
	wake   chan struct{} // something may be due
	room   chan struct{} // something was sent, or nothing will be
	done   chan struct{} // the sender has ended

	mutex    sync.Mutex
	chunks   []*chunk // the oldest first
	size     int      // bytes of all of them
	dropping bool     // from when there is no room until half of it is free
	dropped  int64
	patience time.Duration // what is left of it
	failing  bool          // the last try failed
	closing  bool
	given    bool // up: nothing is sent any more
	busy     bool // something is being sent, or was
	step     int  // the newest chunk's
	begun    time.Time
}

type chunk struct {
	step   int
	offset int64
	data   []byte
	due    time.Time
	sealed bool // it is being sent, or was and will be again
}

// New begins to send what is added.
func New(send Send) *Spool {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Spool{
		send: send, cancel: cancel, patience: Patience, step: -2,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go s.run(ctx)
	return s
}

// Add takes output of a step from an offset on. The bytes are copied.
func (s *Spool) Add(step int, offset int64, data []byte) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.awaitRoom(len(data))
	if s.dropping && s.size <= Limit/2 {
		s.dropping = false
	}
	if s.given || s.dropping || s.size+len(data) > Limit {
		// The newest: the container's log has it for longest.
		s.dropping = true
		s.dropped += int64(len(data))
		return
	}
	last := s.last()
	if last == nil || last.sealed || last.step != step || last.offset+int64(len(last.data)) != offset || len(last.data)+len(data) > Chunk {
		now := time.Now()
		if step != s.step {
			s.step, s.begun = step, now
		}
		last = &chunk{step: step, offset: offset, due: now.Add(pause(now.Sub(s.begun)))}
		s.chunks = append(s.chunks, last)
		signal(s.wake)
	}
	last.data = append(last.data, data...)
	if s.size < Chunk && s.size+len(data) >= Chunk {
		signal(s.wake)
	}
	s.size += len(data)
}

// Failing takes note that a try has failed and will be repeated.
func (s *Spool) Failing() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.failing = true
	signal(s.room)
}

// Dropped is how many bytes were not kept.
func (s *Spool) Dropped() int64 {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.dropped
}

// Close sends what is left, if that can be done in time, and ends. A task that was over before anything was due sends
// nothing, unless it must: its log is whole where it was written, and most tasks are short.
func (s *Spool) Close(must bool) {
	s.mutex.Lock()
	s.closing = true
	if !must && !s.busy {
		s.drop()
	}
	s.mutex.Unlock()
	signal(s.wake)
	end := time.Now().Add(FlushTime)
	for {
		limit := time.NewTimer(s.flushTime(end))
		select {
		case <-s.done:
		case <-limit.C:
			s.cancel()
			<-s.done
		case <-s.room: // perhaps the first failure
			limit.Stop()
			continue
		}
		limit.Stop()
		s.cancel()
		return
	}
}

// flushTime is how long the end of the task waits from now on, at most until end.
func (s *Spool) flushTime(end time.Time) time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failing {
		return min(time.Until(end), failingTime)
	}
	return time.Until(end)
}

// awaitRoom waits while there is no room but chunks are being sent; the mutex is held before and after.
func (s *Spool) awaitRoom(size int) {
	for s.size+size > Limit && s.patience > 0 && !s.failing && !s.given && !s.dropping {
		begin := time.Now()
		timer := time.NewTimer(s.patience)
		s.mutex.Unlock()
		select {
		case <-s.room:
		case <-timer.C:
		}
		timer.Stop()
		s.mutex.Lock()
		s.patience -= time.Since(begin)
	}
}

func (s *Spool) last() *chunk {
	if len(s.chunks) == 0 {
		return nil
	}
	return s.chunks[len(s.chunks)-1]
}

func (s *Spool) run(ctx context.Context) {
	defer close(s.done)
	defer signal(s.room)
	for {
		one := s.next(ctx)
		if one == nil {
			return
		}
		err := s.send(ctx, one.step, one.offset, one.data)
		var unavailable *gateway.Unavailable
		switch {
		case err == nil:
			s.sent(one)
		case ctx.Err() != nil:
			return
		case !errors.As(err, &unavailable):
			s.giveUp() // a refusal: the next one would be refused too
			return
		}
	}
}

// next waits for the oldest chunk to be due: old enough, or with enough behind it. It is nil at the end.
func (s *Spool) next(ctx context.Context) *chunk {
	for {
		s.mutex.Lock()
		var wait <-chan time.Time
		var timer *time.Timer
		switch {
		case len(s.chunks) == 0 && s.closing:
			s.mutex.Unlock()
			return nil
		case len(s.chunks) > 0:
			head := s.chunks[0]
			left := time.Until(head.due)
			if s.size >= Chunk || s.closing || left <= 0 {
				head.sealed, s.busy = true, true
				s.mutex.Unlock()
				return head
			}
			timer = time.NewTimer(left)
			wait = timer.C
		}
		s.mutex.Unlock()
		select {
		case <-s.wake:
		case <-wait:
		case <-ctx.Done():
			return nil
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

func (s *Spool) sent(one *chunk) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.chunks[0] = nil
	s.chunks = s.chunks[1:]
	s.size -= len(one.data)
	s.failing = false
	signal(s.room)
}

func (s *Spool) giveUp() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.drop()
}

func (s *Spool) drop() {
	s.dropped += int64(s.size)
	s.given, s.chunks, s.size = true, nil, 0
}

// pause is how long a chunk that is not full waits for more. A long step that says a little now and then is not to
// become thousands of objects.
func pause(elapsed time.Duration) time.Duration {
	return min(max(elapsed/16, shortestPause), longestPause)
}

func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
