package api

import "testing"

func FuzzByteRange(f *testing.F) {
	for _, header := range []string{"", "bytes=0-", "bytes=5-9", "bytes=-3", "bytes=9-5", "bytes=a-b", "bytes=0-0,2-3", "bytes=99999999999999999999-"} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, total int64) {
		if total < 1 {
			return
		}
		from, to, ok := byteRange(header, total)
		if ok && (from < 0 || to >= total || from < total && to < from) {
			t.Errorf("byteRange(%q, %d) = %d, %d", header, total, from, to)
		}
	})
}
