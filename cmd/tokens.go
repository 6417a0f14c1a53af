package cmd

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/serviceforge/serviceforge"
)

// tokenCache remembers whose valid tokens are, by their SHA-256: a scrypt for
// every request would cost 50 ms.
type tokenCache struct {
	mu     sync.Mutex
	actors map[[sha256.Size]byte]string
}

// maxTokens bounds the cache; valid tokens only are kept in it.
const maxTokens = 1000

// verifyToken says who holds a token.
func (a *App) verifyToken(ctx context.Context, token string) (string, error) {
	sum := sha256.Sum256([]byte(token))
	a.tokens.mu.Lock()
	actor, known := a.tokens.actors[sum]
	a.tokens.mu.Unlock()
	if known {
		return actor, nil
	}
	actor, err := a.store.VerifyToken(ctx, serviceforge.NewSecret(token))
	if err != nil {
		return "", err
	}
	a.tokens.mu.Lock()
	defer a.tokens.mu.Unlock()
	if a.tokens.actors == nil || len(a.tokens.actors) >= maxTokens {
		a.tokens.actors = map[[sha256.Size]byte]string{}
	}
	a.tokens.actors[sum] = actor
	return actor, nil
}
