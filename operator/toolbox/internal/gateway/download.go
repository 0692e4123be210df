package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

const (
	// maxPart bounds a part, as the gateway does.
	maxPart = 64 << 20
	// listed are the parts whose addresses are asked for at once: they expire.
	listed = 64
)

type source struct {
	place
	part
}

// Download writes an archive to target. Path is the archive's own.
//
// A part is only written when it is whole and has the right checksum; the next ones are being fetched meanwhile.
func (c *Client) Download(ctx context.Context, path string, archive Archive, target io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	var fetching sync.WaitGroup
	defer fetching.Wait()
	defer cancel()
	f := &fetcher{client: c, path: path, count: archive.Parts, known: map[int][]source{}}
	queue := make(chan chan fetched, inFlight)
	free := make(chan []byte, inFlight+1)
	fetching.Go(func() {
		defer close(queue)
		for number := range archive.Parts {
			next := make(chan fetched, 1)
			select {
			case queue <- next:
			case <-ctx.Done():
				return
			}
			fetching.Go(func() { next <- f.part(ctx, number, free) })
		}
	})
	for number := range archive.Parts {
		next, open := <-queue
		if !open {
			return context.Cause(ctx)
		}
		one := <-next
		if one.err != nil {
			return fmt.Errorf("part %d of %d: %w", number, archive.Parts, one.err)
		}
		if _, err := target.Write(one.data); err != nil {
			return err
		}
		free <- one.data
	}
	return nil
}

type fetched struct {
	data []byte
	err  error
}

type fetcher struct {
	client *Client
	path   string
	count  int

	mutex sync.Mutex
	known map[int][]source // by their first part, a multiple of `listed`
}

// part fetches one part, into memory that is free if there is some.
func (f *fetcher) part(ctx context.Context, number int, free <-chan []byte) (result fetched) {
	var memory []byte
	select {
	case memory = <-free:
	default:
	}
	result.err = f.client.repeatedly(ctx, func(ctx context.Context) error {
		from, err := f.find(ctx, number)
		if err != nil {
			return err
		}
		if cap(memory) < from.Size {
			memory = make([]byte, from.Size)
		}
		result.data = memory[:from.Size]
		if err := f.client.fetch(ctx, from, result.data); err != nil {
			f.forget(number, from) // the address may be what is wrong
			return err
		}
		return nil
	})
	return result
}

// find says where a part is.
func (f *fetcher) find(ctx context.Context, number int) (source, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	first := number / listed * listed
	if f.known[first] == nil {
		var answer struct {
			Parts []source `json:"parts"`
		}
		count := min(listed, f.count-first)
		if err := f.client.once(ctx, http.MethodGet, fmt.Sprintf("%s?from=%d&count=%d", f.path, first, count), nil, &answer); err != nil {
			return source{}, err
		}
		if len(answer.Parts) != count {
			return source{}, fmt.Errorf("the gateway knows %d parts of %d", len(answer.Parts), count)
		}
		f.known[first] = answer.Parts
		delete(f.known, first-2*listed) // nobody fetches these any more
	}
	result := f.known[first][number-first]
	if result.Size < 0 || result.Size > maxPart {
		return source{}, fmt.Errorf("it has %d bytes, at most %d are possible", result.Size, maxPart)
	}
	return result, nil
}

// forget makes the addresses around a part be asked for again, if that has not been done since.
func (f *fetcher) forget(number int, used source) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	first := number / listed * listed
	if known := f.known[first]; known != nil && known[number-first].URL == used.URL {
		delete(f.known, first)
	}
}

// fetch fills target with a part.
func (c *Client) fetch(ctx context.Context, from source, target []byte) error {
	answer, done, err := c.visit(ctx, http.MethodGet, from.place, nil)
	if err != nil {
		return err
	}
	defer done()
	if _, err := io.ReadFull(answer.Body, target); err != nil {
		return &passing{err: fmt.Errorf("%s: the part broke off: %w", answer.Request.URL.Host, err)}
	}
	sum := sha256.Sum256(target)
	if n, _ := answer.Body.Read(make([]byte, 1)); n > 0 || hex.EncodeToString(sum[:]) != from.SHA256 {
		return &passing{err: errors.New("it is damaged: it has not the checksum with which it was stored"), limit: maxAgain}
	}
	return nil
}
