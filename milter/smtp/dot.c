/* dot */
#include "relaypool.h"
