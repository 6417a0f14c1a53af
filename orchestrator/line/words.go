package line

import (
	"cmp"
	"fmt"
	"time"
)

// About words a rough duration.
func About(d time.Duration) string {
	switch minutes := int(d / time.Minute); {
	case minutes < 1:
		return "less than a minute"
	case minutes == 1:
		return "about a minute"
	case minutes < 120:
		return fmt.Sprintf("about %d minutes", minutes)
	}
	return fmt.Sprintf("about %d hours", int(d/time.Hour))
}

// Ordinal words a place: 1st, 2nd, 3rd, 4th … 11th … 21st.
func Ordinal(n int) string {
	end := map[int]string{1: "st", 2: "nd", 3: "rd"}[n%10]
	if tens := n % 100; tens >= 11 && tens <= 13 {
		end = ""
	}
	return fmt.Sprint(n) + cmp.Or(end, "th")
}

// When to ask again where nothing is known, and the bounds where something is.
const (
	AskAgain = 2 * time.Second
	askLeast = time.Second
	askMost  = time.Minute
)

// AskIn says when to ask again about what is expected in that time: half of it,
// so that an estimate that is too long costs little. Zero = not known.
func AskIn(left time.Duration) time.Duration {
	if left == 0 {
		return AskAgain
	}
	return min(max(left/2, askLeast), askMost)
}
