-- _hex: hexadecimal digits as the octets for which they stand.
local function octets_of(digits)
  return (string.gsub(digits, '..', function(digit) return string.char(tonumber(digit, 16)) end))
end
