/* session */
#include "relaypool.h"
