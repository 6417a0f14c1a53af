package cmd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// bootstrap makes an admin token in the state folder, unless it holds a valid
// one: who may read that folder may do everything anyway.
func (a *App) bootstrap(ctx context.Context) error {
	path := filepath.Join(a.config.State, tokenFile)
	content, err := os.ReadFile(path)
	if err == nil {
		valid, err := a.isToken(ctx, serviceforge.NewSecret(strings.TrimSpace(string(content))))
		if valid || err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "the token in %s cannot be read", path)
	}
	token, err := a.store.CreateToken(ctx, &store.Token{
		Description: "made at the start of the broker on " + hostName(), Role: serviceforge.Admin,
		CreatedAt: time.Now().UTC().Truncate(time.Second), CreatedBy: "bootstrap",
	})
	if err != nil {
		return err
	}
	if err := writePrivate(path, []byte(token.Reveal()+"\n")); err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "the token cannot be written to %s", path)
	}
	return nil
}

// isToken says whether the store knows token. In a store of our own folder its
// number is enough, which costs no scrypt.
func (a *App) isToken(ctx context.Context, token serviceforge.Secret) (bool, error) {
	number, _, _ := strings.Cut(token.Reveal(), "-")
	n, err := strconv.Atoi(number)
	if err != nil {
		return false, nil
	}
	record, err := a.store.Token(ctx, n)
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return false, nil
	}
	return err == nil && (a.etcd != nil || record.Is(token)), err
}
