package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
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
// A part is only written when it is whole and has the right checksum; one more is being fetched meanwhile.
func (c *Client) Download(ctx context.Context, path string, archive Archive, target io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &fetcher{client: c, path: path, count: archive.Parts}
	fetched := make(chan []byte)
	free := make(chan []byte, inFlight)
	ended := make(chan error, 1)
	go func() {
		defer close(fetched)
		ended <- f.all(ctx, fetched, free)
	}()
	for data := range fetched {
		if _, err := target.Write(data); err != nil {
			cancel(err)
			for range fetched { // until it has ended
			}
			return err
		}
		select {
		case free <- data:
		default:
		}
	}
	return <-ended
}

type fetcher struct {
	client *Client
	path   string
	count  int
	known  []source // of the parts from `first` on
	first  int
}

func (f *fetcher) all(ctx context.Context, fetched chan<- []byte, free <-chan []byte) error {
	for number := range f.count {
		var memory []byte
		select {
		case memory = <-free:
		default:
		}
		data, err := f.part(ctx, number, memory)
		if err != nil {
			return fmt.Errorf("part %d of %d: %w", number, f.count, err)
		}
		select {
		case fetched <- data:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// part fetches one part into memory, if that is large enough.
func (f *fetcher) part(ctx context.Context, number int, memory []byte) (data []byte, err error) {
	err = f.client.repeatedly(ctx, func(ctx context.Context) error {
		from, err := f.find(ctx, number)
		if err != nil {
			return err
		}
		if cap(memory) < from.Size {
			memory = make([]byte, from.Size)
		}
		if data, err = memory[:from.Size], f.client.fetch(ctx, from, memory[:from.Size]); err != nil {
			f.known = nil // the address may be what is wrong
		}
		return err
	})
	return data, err
}

// find says where a part is.
func (f *fetcher) find(ctx context.Context, number int) (source, error) {
	if at := number - f.first; at < 0 || at >= len(f.known) {
		var answer struct {
			Parts []source `json:"parts"`
		}
		query := fmt.Sprintf("%s?from=%d&count=%d", f.path, number, min(listed, f.count-number))
		if err := f.client.once(ctx, http.MethodGet, query, nil, &answer); err != nil {
			return source{}, err
		}
		if len(answer.Parts) == 0 {
			return source{}, errors.New("the gateway does not know it")
		}
		f.known, f.first = answer.Parts, number
	}
	result := f.known[number-f.first]
	if result.Size < 0 || result.Size > maxPart {
		return source{}, fmt.Errorf("it has %d bytes, at most %d are possible", result.Size, maxPart)
	}
	return result, nil
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
