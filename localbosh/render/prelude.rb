# What a job template may use, as the director's bosh-template gives it. Evaluated once, before a deployment is known.

require 'erb'
require 'json'
require 'yaml'
require 'ostruct'
require 'shellwords'
require 'stringio'
require 'time'
require 'uri'

# There is no other program and no network here. WASI's stubs would claim success; templates must see an error.
module Kernel
  %i[system spawn exec fork ` syscall].each do |name|
    define_method(name) { |*| raise NotImplementedError, "#{name}: a template cannot run programs" }
    module_function name
  end
end

[[IO, :popen], [Process, :spawn], [Process, :exec], [Process, :fork], [Process, :daemon]].each do |owner, name|
  owner.define_singleton_method(name) { |*| raise NotImplementedError, "#{name}: a template cannot run programs" }
end

# Libraries that the director has loaded anyway, so that templates use them without require.
{ SecureRandom: 'securerandom', Digest: 'digest', OpenSSL: 'openssl', IPAddr: 'ipaddr',
  Pathname: 'pathname', Tempfile: 'tempfile', Zlib: 'zlib', Date: 'date', DateTime: 'date' }.each do |name, file|
  Object.autoload(name, file)
end

# ipaddr asks socket for numbers of address families; there are no sockets.
class Socket
  AF_UNSPEC = 0
  AF_INET = 2
  AF_INET6 = 10
end
$LOADED_FEATURES << 'socket.rb'

# base64 left Ruby's standard library in 3.4; templates have always had it.
module Base64
  module_function

  def encode64(bin) = [bin].pack('m')
  def decode64(str) = str.unpack1('m')
  def strict_encode64(bin) = [bin].pack('m0')
  def strict_decode64(str) = str.unpack1('m0')

  def urlsafe_encode64(bin, padding: true)
    str = strict_encode64(bin).tr('+/', '-_')
    padding ? str : str.delete('=')
  end

  def urlsafe_decode64(str)
    str += '=' * (-str.length % 4) unless str.end_with?('=')
    strict_decode64(str.tr('-_', '+/'))
  end
end
$LOADED_FEATURES << 'base64.rb'

module Bosh
  module Common
    module Template
      class EvaluationFailed < StandardError; end
      class InvalidPropertyType < StandardError; end

      class UnknownProperty < StandardError
        attr_reader :name

        def initialize(name)
          @name = name
          super("Can't find property '#{name}'")
        end
      end

      class UnknownLink < StandardError
        def initialize(name) = super("Can't find link '#{name}'")
      end

      # Dotted look-up in nested hashes; nil where something is missing.
      module PropertyHelper
        def lookup_property(collection, name)
          return nil if collection.nil?

          name.split('.').inject(collection) do |found, key|
            value = found[key]
            return nil if value.nil?

            value
          end
        end
      end

      # p and if_p over the hash that `property_source` returns.
      module PropertyReader
        include PropertyHelper

        def p(*args)
          names = Array(args[0])
          names.each do |name|
            value = lookup_property(property_source, name)
            return value unless value.nil?
          end
          return args[1] if args.length == 2

          raise UnknownProperty.new(names)
        end

        def if_p(*names)
          values = names.map do |name|
            value = lookup_property(property_source, name)
            return EvaluationContext::ActiveElseBlock.new(self) if value.nil?

            value
          end
          yield(*values)
          EvaluationContext::InactiveElseBlock.new
        end
      end

      class EvaluationLinkInstance
        include PropertyReader
        attr_reader :name, :index, :id, :az, :address, :properties, :bootstrap

        def initialize(document)
          @name, @index, @id, @az, @address, @properties, @bootstrap =
            document.values_at('name', 'index', 'id', 'az', 'address', 'properties', 'bootstrap')
        end

        private

        def property_source = @properties
      end

      class EvaluationLink
        include PropertyReader
        attr_reader :instances, :properties

        def initialize(document)
          @instances = document['instances'].map { |instance| EvaluationLinkInstance.new(instance) }
          @properties = document['properties']
          @address = document['address']
        end

        # The criteria (azs, status) choose among DNS queries; a link's one address stands for all of them.
        def address(_criteria = {})
          raise NotImplementedError, 'link.address requires bosh director' if @address.nil?

          @address
        end

        private

        def property_source = @properties
      end

      # The self of a template.
      class EvaluationContext
        include PropertyReader
        attr_reader :name, :index, :raw_properties

        def initialize(document)
          @document = document
          job = document['job']
          @name = job.is_a?(Hash) ? job['name'] : nil
          @index = document['index']
          @raw_properties = document['properties'] || {}
          @links = document['links'] || {}
        end

        def get_binding = binding

        # Made when first asked for: an OpenStruct tree is dear, and most templates use p.
        def spec = @spec ||= openstruct(@document, BackCompatOpenStruct)
        def properties = @properties ||= openstruct(@raw_properties, OpenStruct)

        def link(name)
          document = lookup_property(@links, name)
          raise UnknownLink.new(name) unless document&.key?('instances')

          EvaluationLink.new(document)
        end

        def if_link(name)
          document = lookup_property(@links, name)
          return ActiveElseBlock.new(self) unless document&.key?('instances')

          yield EvaluationLink.new(document)
          InactiveElseBlock.new
        end

        class BackCompatOpenStruct < OpenStruct
          def methods(regular = true)
            regular ? super : marshal_dump.keys.map(&:to_sym)
          end
        end

        class ActiveElseBlock
          def initialize(context)
            @context = context
          end

          def else = yield
          def else_if_p(*names, &block) = @context.if_p(*names, &block)
          def else_if_link(name, &block) = @context.if_link(name, &block)
        end

        class InactiveElseBlock
          def else = nil
          def else_if_p(*) = InactiveElseBlock.new
          def else_if_link(*) = InactiveElseBlock.new
        end

        private

        def property_source = @raw_properties

        def openstruct(value, kind)
          case value
          when Hash then kind.new(value.transform_values { |member| openstruct(member, kind) })
          when Array then value.map { |member| openstruct(member, kind) }
          else value
          end
        end
      end
    end
  end

  Template = Common::Template
end

# Reads one request from standard input, answers on standard output; wire.go has both documents.
class ServiceForgeRender
  def initialize(input, output)
    @input = input.binmode
    @output = output.binmode
  end

  def run
    request = JSON.parse(@input.read)
    @templates = request['templates'].map { |template| compile(template) }
    answers = request['jobs'].map do |job|
      # A fresh copy of the document for each template: what one changes the next must not see.
      job['templates'].map { |number| evaluate(@templates[number], JSON.parse(job['spec'])) }
    end
    @output.write(JSON.generate(answers))
    @output.flush
  end

  private

  def compile(template)
    erb = ERB.new(template['body'].unpack1('m0').force_encoding(Encoding::UTF_8), trim_mode: '-')
    erb.filename = template['file']
    erb
  rescue Exception => e
    [template['file'], e]
  end

  def evaluate(erb, document)
    return failure(*erb) if erb.is_a?(Array)

    text = erb.result(Bosh::Common::Template::EvaluationContext.new(document).get_binding)
    { data: [text].pack('m0') }
  rescue Exception => e
    failure(erb.filename, e)
  end

  # The line is where the backtrace first names the template; the director says it in the same way.
  def failure(file, error)
    frame = (error.backtrace || []).find { |line| line.include?(file) } || '(unknown):(unknown)'
    { line: frame.split(':')[1], error: error.to_s.dup.force_encoding(Encoding::UTF_8).scrub }
  end
end

class ServiceForgeRender
  THE_ONE = new($stdin, $stdout)
  private_constant :THE_ONE
  def self.run = THE_ONE.run
end

# What a template prints goes nowhere, as on a director.
Object.send(:remove_const, :STDOUT)
Object.send(:remove_const, :STDERR)
STDOUT = STDERR = $stdout = $stderr = StringIO.new
GC.start
