// Package deps keeps the modules that are about to be used in go.mod; it goes when the first release is assembled.
package deps

import (
	_ "code.cloudfoundry.org/lager/v3"
	_ "github.com/cloudfoundry/bosh-cli/v7/director"
	_ "github.com/cloudfoundry/bosh-cli/v7/uaa"
	_ "github.com/cloudfoundry/config-server/types"
	_ "github.com/go-chi/chi/v5"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/mandelsoft/spiff/spiffing"
	_ "github.com/mattn/go-isatty"
	_ "github.com/oklog/ulid/v2"
	_ "github.com/pivotal-cf/brokerapi/v10"
	_ "github.com/schollz/progressbar/v3"
	_ "github.com/spf13/cobra"
	_ "github.com/spf13/viper"
	_ "github.com/tetratelabs/wazero"
	_ "go.etcd.io/etcd/client/v3"
	_ "go.etcd.io/etcd/server/v3/embed"
	_ "go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	_ "golang.org/x/crypto/scrypt"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/time/rate"
	_ "gopkg.in/yaml.v3"
)
