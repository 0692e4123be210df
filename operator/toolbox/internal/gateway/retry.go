package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Refusal is the gateway's answer to what it will not do.
type Refusal struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *Refusal) Error() string { return r.Message }

// Unavailable says that a request was repeated for as long as may be.
type Unavailable struct {
	Patience time.Duration
	Last     error
}

func (u *Unavailable) Error() string {
	return fmt.Sprintf("the object storage could not be used for %v: %v", u.Patience, u.Last)
}

func (u *Unavailable) Unwrap() error { return u.Last }

// passing is a failure that may be gone when the request is repeated.
type passing struct {
	err   error
	after time.Duration // not before; 0 if nobody said
	limit int           // how many such in a row are borne; 0 for any number
}

func (p *passing) Error() string { return p.err.Error() }
func (p *passing) Unwrap() error { return p.err }

// repeatedly does something until it works, fails for good, or has been tried for too long.
func (c *Client) repeatedly(ctx context.Context, do func(context.Context) error) error {
	begin, pause, strange := time.Now(), c.firstPause, 0
	for {
		err := do(ctx)
		if err == nil {
			c.state.over()
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var brief *passing
		if !errors.As(err, &brief) {
			return err
		}
		if strange++; brief.limit == 0 {
			strange = 0
		} else if strange >= brief.limit {
			return brief.err
		}
		// Between half and all of it, so that many tasks that wait for the same do not come back together.
		wait := max(pause/2+rand.N(pause/2+1), min(brief.after, 4*c.longestPause))
		if time.Since(begin)+wait > c.patience {
			return &Unavailable{c.patience, brief.err}
		}
		c.state.begin(brief.err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(2*pause, c.longestPause)
	}
}

// judge says what an answer's status means: nothing, a passing failure, or a refusal.
func judge(answer *http.Response, refusal *Refusal) error {
	if refusal.Message == "" {
		refusal.Message = "the answer was " + answer.Status
	}
	refusal.Status = answer.StatusCode
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		seconds, err := strconv.Atoi(answer.Header.Get("Retry-After"))
		if err != nil {
			seconds = 0
		}
		return &passing{err: refusal, after: time.Duration(seconds) * time.Second}
	case http.StatusUnauthorized:
		// The token may just have been renewed.
		return &passing{err: refusal, limit: 3}
	default:
		return refusal
	}
}

// waiting says when requests begin to wait and when they go on, once for all of them.
type waiting struct {
	notice func(string)
	mutex  sync.Mutex
	since  time.Time
}

func (w *waiting) begin(why error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.since.IsZero() {
		w.since = time.Now()
		w.notice(fmt.Sprintf("waiting for the object storage: %v", why))
	}
}

func (w *waiting) over() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if !w.since.IsZero() {
		w.notice(fmt.Sprintf("the object storage answers again, after %.1f s", time.Since(w.since).Seconds()))
		w.since = time.Time{}
	}
}
