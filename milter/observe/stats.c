/* stats */
#include "relaypool.h"
