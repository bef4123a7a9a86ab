-- release: undo our own mark; the entry stays claimed and unharmed.
local function run(request)
  if redis.pcall('HGET', INFLIGHT, request.name) == request.mark then redis.call('HDEL', INFLIGHT, request.name) end
  return 'released'
end
