-- _deferred: a deferred message is a due time, and its fields as JSON. Other hands may have written anything there.
-- include: fields

-- The fields of a deferred message, or nil.
local function unpacked(packed)
  local readable, fields = pcall(cjson.decode, packed)
  if not readable or type(fields) ~= 'table' then return nil end
  if #fields == 0 or #fields % 2 == 1 or #fields > MOST_VALUES then return nil end
  for _, value in ipairs(fields) do
    if type(value) ~= 'string' and type(value) ~= 'number' then return nil end
  end
  return fields
end

local function forget_deferred(id)
  redis.call('ZREM', DEFERRED, id)
  redis.call('HDEL', MESSAGES, id)
end
