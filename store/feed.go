package store

import (
	"context"
	"net/url"
	"sync"
)

// Feed tells which instances changed. It coalesces: an instance that changes
// often while nobody looks is told once, and nothing is ever dropped.
type Feed struct {
	view *view
	wake chan struct{} // holds one token when ids is not empty

	mu  sync.Mutex
	ids map[string]struct{}
}

// Feed starts a feed that first tells of every instance there is.
func (s *Store) Feed() *Feed {
	f := &Feed{view: s.view, wake: make(chan struct{}, 1), ids: map[string]struct{}{}}
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	for id := range s.view.summaries {
		f.add(id)
	}
	s.view.feeds[f] = struct{}{}
	return f
}

// Next waits for changes and returns the ids of changed (or deleted) instances.
func (f *Feed) Next(ctx context.Context) ([]string, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.wake:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make([]string, 0, len(f.ids))
	for id := range f.ids {
		ids = append(ids, id)
	}
	f.ids = map[string]struct{}{} // a cleared map stays as large as it ever was, and as slow to walk
	return ids, nil
}

// Close ends the feed.
func (f *Feed) Close() {
	f.view.mu.Lock()
	defer f.view.mu.Unlock()
	delete(f.view.feeds, f)
}

func (f *Feed) add(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids[id] = struct{}{}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// unescape undoes key's escaping of one id.
func unescape(escaped string) string {
	id, err := url.PathUnescape(escaped)
	if err != nil {
		return escaped
	}
	return id
}
