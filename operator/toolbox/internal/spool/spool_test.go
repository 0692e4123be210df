package spool

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"runabout.dev/toolbox/internal/gateway"
)

// taker takes chunks, one each time it is let.
type taker struct {
	t      *testing.T
	turns  chan error // nil: as fast as they come
	got    map[int][]piece
	chunks int
}

type piece struct {
	offset int64
	data   []byte
}

func (k *taker) send(ctx context.Context, step int, offset int64, data []byte) error {
	if k.turns != nil {
		select {
		case err := <-k.turns:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if len(data) == 0 || len(data) > Chunk {
		k.t.Errorf("a chunk of %d bytes", len(data))
	}
	k.chunks++
	k.got[step] = append(k.got[step], piece{offset, bytes.Clone(data)})
	return nil
}

func taking(t *testing.T, turns chan error) *taker {
	return &taker{t: t, turns: turns, got: map[int][]piece{}}
}

// check compares what came with what was written, and returns how many bytes came.
func (k *taker) check(step int, whole []byte) int64 {
	var at, count int64
	for _, one := range k.got[step] {
		end := one.offset + int64(len(one.data))
		if one.offset < at || end > int64(len(whole)) || !bytes.Equal(one.data, whole[one.offset:end]) {
			k.t.Fatalf("step %d: %d bytes from %d on are not what was written there, or came before", step, len(one.data), one.offset)
		}
		at = end
		count += int64(len(one.data))
	}
	return count
}

func output(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return data
}

// add writes a whole output in pieces.
func add(s *Spool, step int, whole []byte, size int) {
	for at := 0; at < len(whole); at += size {
		s.Add(step, int64(at), whole[at:min(at+size, len(whole))])
	}
}

func TestWhatIsAddedIsSentInItsOrderAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := taking(t, nil)
		s := New(k.send)
		draw := rand.New(rand.NewPCG(1, 2))
		sizes := map[int]int{-1: 40, 0: 3<<20 + 7, 1: 1, 2: Chunk, 3: 100_000}
		for step := -1; step <= 3; step++ {
			add(s, step, output(sizes[step]), 1+draw.IntN(15_500))
		}
		s.Close(true)
		for step, size := range sizes {
			if got := k.check(step, output(size)); got != int64(size) {
				t.Errorf("step %d: %d of %d bytes", step, got, size)
			}
		}
	})
}

func TestATaskThatIsOverBeforeAnythingIsDueSendsNothingUnlessItMust(t *testing.T) {
	for _, must := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			k := taking(t, nil)
			s := New(k.send)
			add(s, -1, output(40), 40)
			add(s, 0, output(1000), 100)
			begin := time.Now()
			s.Close(must)
			if (k.chunks > 0) != must || time.Since(begin) != 0 {
				t.Errorf("must %v: %d chunks after %v", must, k.chunks, time.Since(begin))
			}
		})
	}
}

func TestATaskOfWhichSomethingWasSentSendsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := taking(t, nil)
		s := New(k.send)
		whole := output(1000)
		add(s, 0, whole[:500], 100)
		time.Sleep(shortestPause)
		synctest.Wait()
		s.Add(0, 500, whole[500:])
		s.Close(false)
		if got := k.check(0, whole); got != 1000 || k.chunks != 2 {
			t.Errorf("%d bytes in %d chunks", got, k.chunks)
		}
	})
}

func TestALittleOutputWaitsForMoreAndLongerInALongStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := taking(t, nil)
		s := New(k.send)
		for at := range 3600 { // a byte each second
			s.Add(0, int64(at), []byte{byte(at)})
			// Not after 4 s: the second chunk is due then if the byte of 2 s came too late for the first.
			if at == 3 && k.chunks != 1 {
				t.Errorf("after 3 s there were %d chunks", k.chunks)
			}
			time.Sleep(time.Second)
		}
		if k.chunks < 3600/16 || k.chunks > 300 {
			t.Errorf("an hour became %d chunks", k.chunks)
		}
		s.Close(true)
	})
}

func TestAStorageThatIsSlowMakesOutputWaitForAWhileAndThenItIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(chan error)
		k := taking(t, turns)
		s := New(k.send)
		begin, whole := time.Now(), output(4*Limit)
		add(s, 0, whole, 10_000)
		if waited := time.Since(begin); waited != Patience {
			t.Errorf("the step waited for %v", waited)
		}
		go func() {
			for {
				select {
				case turns <- nil:
				case <-t.Context().Done():
					return
				}
			}
		}()
		time.Sleep(time.Minute)
		s.Add(0, int64(len(whole)), []byte("again"))
		s.Close(true)
		got := k.check(0, append(whole, "again"...))
		if got+s.Dropped() != int64(len(whole)+5) || got < Limit-Chunk || k.got[0][len(k.got[0])-1].offset != int64(len(whole)) {
			t.Errorf("%d bytes came and %d were dropped, of %d", got, s.Dropped(), len(whole)+5)
		}
	})
}

func TestAStorageThatKeepsUpWithWaitsLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := taking(t, nil)
		s := New(func(ctx context.Context, step int, offset int64, data []byte) error {
			time.Sleep(30 * time.Millisecond) // 30 MB/s
			return k.send(ctx, step, offset, data)
		})
		whole := output(100_000_000)
		add(s, 0, whole, 15_500)
		s.Close(true)
		if got := k.check(0, whole); got != int64(len(whole)) {
			t.Errorf("%d bytes of %d came", got, len(whole))
		}
	})
}

func TestAStorageThatFailsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *Spool
		s = New(func(ctx context.Context, _ int, _ int64, _ []byte) error {
			s.Failing()
			<-ctx.Done()
			return context.Cause(ctx)
		})
		s.Add(0, 0, output(Chunk))
		time.Sleep(shortestPause)
		begin := time.Now()
		add(s, 1, output(2*Limit), 10_000)
		s.Close(true)
		if took := time.Since(begin); took != failingTime {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAStorageThatDoesNotAnswerIsWaitedForAtTheEndForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(taking(t, make(chan error)).send)
		s.Add(0, 0, []byte("x"))
		begin := time.Now()
		s.Close(true)
		if took := time.Since(begin); took != FlushTime {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAfterARefusalNothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(chan error, 1)
		k := taking(t, turns)
		s := New(k.send)
		turns <- &gateway.Refusal{Status: 409, Message: "not running any more"}
		s.Add(0, 0, []byte("x"))
		time.Sleep(shortestPause)
		begin := time.Now()
		add(s, 1, output(2*Limit), 10_000)
		s.Close(true)
		if took := time.Since(begin); took != 0 || k.chunks != 0 || s.Dropped() != 2*Limit+1 {
			t.Errorf("it took %v, %d chunks, %d bytes dropped", took, k.chunks, s.Dropped())
		}
	})
}

func TestWhatCouldNotBeSentForLongIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(chan error, 2)
		k := taking(t, turns)
		s := New(k.send)
		turns <- &gateway.Unavailable{Patience: time.Minute, Last: errors.New("no answer")}
		turns <- nil
		s.Add(0, 0, []byte("x"))
		s.Close(true)
		if k.check(0, []byte("x")) != 1 {
			t.Error("it was not sent")
		}
	})
}

func TestWhatIsAddedWhileAChunkIsOnItsWayGoesWithTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(chan error)
		k := taking(t, turns)
		s := New(k.send)
		whole := output(1000)
		s.Add(0, 0, whole[:500])
		time.Sleep(shortestPause)
		synctest.Wait() // it is being sent
		s.Add(0, 500, whole[500:])
		go func() {
			turns <- nil
			turns <- nil
		}()
		s.Close(true)
		if got := k.check(0, whole); got != 1000 {
			t.Errorf("%d bytes of 1000 came", got)
		}
	})
}

func TestAStorageThatHasFailedAndIsBackIsWaitedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(chan error)
		k := taking(t, turns)
		s := New(k.send)
		s.Failing()
		s.Add(0, 0, []byte("x"))
		turns <- nil
		synctest.Wait()
		begin := time.Now()
		add(s, 1, output(2*Limit), 10_000)
		if waited := time.Since(begin); waited != Patience {
			t.Errorf("the step waited for %v", waited)
		}
		s.Close(true)
	})
}
