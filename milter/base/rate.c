/* rate */
#include "relaypool.h"
