-- release: remove our own in-flight record; the entry stays claimed and unharmed.
-- takes: name, mark
-- keys: none
-- answers: released
-- changes: inflight

local function run(request)
  if redis.pcall('HGET', INFLIGHT, request.name) == request.mark then redis.call('HDEL', INFLIGHT, request.name) end
  return 'released'
end
