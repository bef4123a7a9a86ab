-- audience_look: the values of one contact.
-- include: audience
-- takes: number
-- keys: audience
-- answers: gone | absent | {its values}
-- changes: none

local function run(request, keys)
  local version = opened(keys[1])
  if not version then return 'gone' end
  local values = redis.call('HGET', bucket_of(version, request.number), request.number)
  return values and {values} or 'absent'
end
